import ArgumentParser
import Control
import ControlClient
import Foundation

/// `martlet db`.
struct Databases: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "db",
        abstract: "Work with the databases of an app: list, SQL, copies, back to a time.",
        subcommands: [List.self, DatabaseShell.self, Export.self, Fork.self, Restore.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the databases of an app.")

        @Argument(help: "The app's name.") var app: String?
        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an array of objects.") var json = false

        func run() async throws {
            let app = try AppName.resolve(app)
            let databases = try await client.client().databases(of: app)
            if json { return try Terminal.json(databases) }
            guard !databases.isEmpty else {
                return Terminal.note(
                    "\(app) has no databases; those under $MARTLET_DATA are found by themselves."
                )
            }
            var table = TextTable(["database", "size", "replica", "restorable since", "proven"])
            for database in databases {
                table.add([
                    database.name, ByteCount.format(database.bytes),
                    database.problem == nil ? "epoch \(database.epoch)" : "none",
                    database.restorableSince.map(JSONFormat.time) ?? "-",
                    database.provenAt.map(JSONFormat.time) ?? "-",
                ])
            }
            table.print()
            for database in databases {
                if let problem = database.problem { Terminal.warning("\(database.name): \(problem)") }
            }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Copy a database to a file, as it is or as it was at a time.",
            discussion: "The copy is restored from the replica and checked in full."
        )

        @Argument(help: "The app's name.") var app: String
        @Argument(help: "The file to write, which must not exist.", completion: .file()) var file: String
        @Option(help: "The database's path below the data folder; without it the only one, or main.db.")
        var database: String?
        @Option(help: "A time such as 2026-11-24T06:15:04Z or \"10m ago\".") var at: String?
        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an object.") var json = false

        private struct Written: Codable {
            var app: ApplicationID
            var file: String
            var bytes: Int
        }

        func run() async throws {
            let app = try ApplicationID(validating: app)
            let target = URL(filePath: file)
            guard !FileManager.default.fileExists(atPath: target.path(percentEncoded: false)) else {
                throw MartletError(.badRequest, "\(file) exists already; name a new file")
            }
            let time = try at.map { text throws(MartletError) in try TimeText.parse(text, now: Date()) }
            let partial = target.appendingPathExtension("partial")
            // Nothing to do where there is none.
            defer { try? FileManager.default.removeItem(at: partial) }
            let bytes = try await client.client().export(database, of: app, at: time, to: partial)
            try FileManager.default.moveItem(at: partial, to: target)
            if json { return try Terminal.json(Written(app: app, file: file, bytes: bytes)) }
            Terminal.note("\(file) has \(ByteCount.format(bytes)).")
        }
    }

    struct Fork: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make another app with the same version and variables and a copy of the databases."
        )

        @Argument(help: "The app's name.") var app: String
        @Argument(help: "The new app's name.") var name: String
        @Option(help: "A time such as 2026-11-24T06:15:04Z or \"10m ago\"; without it now.") var at: String?
        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an object.") var json = false

        func run() async throws {
            let time = try at.map { text throws(MartletError) in try TimeText.parse(text, now: Date()) }
            let fork = try await client.client().fork(
                try ApplicationID(validating: app),
                as: try ApplicationID(validating: name),
                at: time
            )
            if json { return try Terminal.json(fork) }
            Terminal.note(
                "\(fork.app) has \(fork.databases) \(fork.databases == 1 ? "database" : "databases") of \(fork.source), "
                    + "\(ByteCount.format(fork.bytes)), and answers at \(fork.url)"
            )
        }
    }

    struct Restore: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the databases of an app back to a time.",
            discussion: "The state of now is kept first, as an app of its own. Requests wait meanwhile."
        )

        @Argument(help: "The app's name.") var app: String
        @Option(help: "A time such as 2026-11-24T06:15:04Z or \"10m ago\".") var at: String
        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an object.") var json = false

        func run() async throws {
            let time = try TimeText.parse(at, now: Date())
            let restore = try await client.client().restoreDatabases(
                of: try ApplicationID(validating: app),
                at: time
            )
            if json { return try Terminal.json(restore) }
            Terminal.note(
                "\(restore.app) is as it was at \(JSONFormat.time(restore.time)): \(restore.databases) "
                    + "\(restore.databases == 1 ? "database" : "databases"), \(ByteCount.format(restore.bytes)). "
                    + "\(restore.fork) has the state from before; `martlet delete \(restore.fork)` removes it."
            )
        }
    }
}

/// `martlet db shell`.
struct DatabaseShell: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shell",
        abstract: "Run SQL on a database of an app.",
        discussion:
            "SQL comes from --command, from standard input, or line by line at a terminal. It runs on the host, "
            + "beside the app, and can only read unless --write is given. What ends with a semicolon is run at once."
    )

    @Argument(help: "The app's name.") var app: String?
    @Option(help: "The database's path below the data folder; without it the only one, or main.db.")
    var database: String?
    @Option(name: .shortAndLong, help: "SQL to run.") var command: String?
    @Flag(help: "Let SQL change the database.") var write = false
    @OptionGroup var client: ClientOptions
    @Flag(help: "Print an array of objects, one for each statement.") var json = false

    func run() async throws {
        let app = try AppName.resolve(app)
        let api = try client.client()
        if let command { return try await show(command, app, api) }
        guard isatty(STDIN_FILENO) == 1 else {
            let input = FileHandle.standardInput.readDataToEndOfFile()
            return try await show(String(decoding: input, as: UTF8.self), app, api)
        }
        Terminal.note("SQL on \(app)\(write ? "" : ", read only"). End with a semicolon; Ctrl-D leaves.")
        var text = ""
        while true {
            Terminal.draw(text.isEmpty ? "sql> " : "...> ")
            guard let line = readLine() else { break }
            text += line + "\n"
            guard line.hasSuffix(";") else { continue }
            do { try await show(text, app, api) } catch let error as MartletError {
                Terminal.error(error.message)
            }
            text = ""
        }
        Terminal.note("")
    }

    private func show(_ sql: String, _ app: ApplicationID, _ api: APIClient) async throws {
        let query = DatabaseQuery(database: database, sql: sql, canWrite: write)
        let result = try await api.query(query, of: app)
        if json { return try Terminal.json(result.statements) }
        for statement in result.statements {
            guard !statement.columns.isEmpty else {
                Terminal.note("\(statement.changes) rows changed")
                continue
            }
            var table = TextTable(statement.columns)
            for row in statement.rows { table.add(row.map(\.description)) }
            table.print()
            if statement.isCut { Terminal.warning("only the first \(statement.rows.count) rows are shown") }
        }
    }
}
