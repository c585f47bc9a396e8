import ArgumentParser
import Control
import ControlClient
import Foundation

/// `martlet apps`: the listing, and one app in detail.
struct Apps: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the apps, or show one.",
        subcommands: [List.self, Show.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the apps.")

        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an array of objects.") var json = false

        func run() async throws {
            let apps = try await client.client().applications()
            if json { return try Terminal.json(apps) }
            guard !apps.isEmpty else {
                return Terminal.note(
                    "There are no apps yet. `martlet init DIR` writes one, `martlet deploy DIR` runs it."
                )
            }
            var table = TextTable(["app", "state", "version", "requests", "address"])
            for app in apps {
                table.add([
                    app.id.rawValue, app.state.rawValue, app.version?.short ?? "-", "\(app.requests)",
                    app.url,
                ])
            }
            table.print()
            for app in apps {
                if let error = app.lastError {
                    Terminal.warning("\(app.id): \(error.message) (\(JSONFormat.time(error.at)))")
                }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show an app in detail.")

        @Argument(help: "The app's name.") var app: String?
        @OptionGroup var client: ClientOptions
        @Flag(help: "Print an object.") var json = false

        func run() async throws {
            let app = try AppName.resolve(app)
            let client = try client.client()
            let status = try await client.application(app)
            let operations = try await Self.operations(of: app, client)
            if json { return try Terminal.json(ApplicationDetails(status: status, operations: operations)) }
            let sleep = status.sleepAfterSeconds.map {
                "after \(DurationText.format(.seconds($0))) without requests"
            }
            var lines: [(String, String?)] = [
                ("app", status.id.rawValue), ("address", status.url), ("state", status.state.rawValue),
                ("version", status.version?.rawValue), ("host", status.host?.rawValue),
                ("owner", status.owner.rawValue),
                ("created", JSONFormat.time(status.createdAt)),
                ("deployed", status.deployedAt.map(JSONFormat.time)),
                ("requests", "\(status.requests), \(status.activeRequests) running"),
                ("last request", status.lastRequestAt.map(JSONFormat.time)), ("sleeps", sleep ?? "never"),
                ("memory", status.memoryBytes.map(ByteCount.format)),
                ("replica proven", status.provenAt.map(JSONFormat.time)),
            ]
            if let error = status.lastError {
                lines.append(("last error", "\(error.message) (\(JSONFormat.time(error.at)))"))
            }
            for cron in status.cron { lines.append(("cron", cron.text)) }
            for case (let name, let value?) in lines { Terminal.print("\(name.padding(to: 14))\(value)") }
            for operation in operations { Self.print(operation) }
        }

        /// What was done with the app; nothing where there is one host alone, which keeps no such record.
        private static func operations(
            of app: ApplicationID,
            _ client: APIClient
        ) async throws -> [OperationRecord] {
            do { return try await client.operations(of: app) } catch let error as MartletError
                where error.code == .notFound || error.code == .unavailable
            {
                return []
            }
        }

        private static func print(_ operation: OperationRecord) {
            let way = [operation.from.map { "from \($0)" }, operation.to.map { "to \($0)" }].compactMap { $0 }
            let time = operation.finishedAt.map { end in
                DurationText.format(.milliseconds(Int(end.timeIntervalSince(operation.startedAt) * 1000)))
            }
            let head = [
                "\(JSONFormat.time(operation.startedAt))", operation.kind.rawValue,
                way.joined(separator: " "),
                operation.state.rawValue, time.map { "in \($0)" } ?? "",
                operation.reason.map { "(\($0))" } ?? "",
            ]
            Terminal.print("")
            Terminal.print(Terminal.styled(head.filter { !$0.isEmpty }.joined(separator: "  "), .bold))
            for step in operation.steps { Terminal.print("  " + OperationProgress.text(step)) }
            if let error = operation.error { Terminal.print("  error: \(error.message)") }
        }
    }
}

/// `martlet versions`.
struct Versions: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the versions that an app can go back to.")

    @Argument(help: "The app's name.") var app: String?
    @OptionGroup var client: ClientOptions
    @Flag(help: "Print an array of objects.") var json = false

    func run() async throws {
        let versions = try await client.client().versions(of: try AppName.resolve(app))
        if json { return try Terminal.json(versions) }
        var table = TextTable(["version", "created", "size", ""])
        for version in versions {
            table.add([
                version.id.short, JSONFormat.time(version.createdAt), ByteCount.format(version.artifactBytes),
                version.isCurrent ? "serving" : "",
            ])
        }
        table.print()
    }
}

/// `martlet rollback`.
struct Rollback: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take an earlier version into use: the one before, or the one named with --to."
    )

    @Argument(help: "The app's name.") var app: String?
    @Option(help: "The version, or the start of it, as `martlet versions` shows it.") var to: String?
    @OptionGroup var client: ClientOptions
    @Flag(help: "Print an object.") var json = false

    func run() async throws {
        let progress = DeploymentProgress()
        let version = try to.map { text throws(MartletError) in try VersionPrefix(validating: text) }
        let deployment = try await client.client().rollback(try AppName.resolve(app), to: version) {
            progress.show($0)
        }
        try deployment.report(asJSON: json)
    }
}

/// `martlet delete`.
struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Delete an app with its versions, databases, variables and logs."
    )

    @Argument(help: "The app's name.") var app: String
    @Flag(name: [.short, .long], help: "Do not ask.") var yes = false
    @OptionGroup var client: ClientOptions

    func run() async throws {
        let app = try ApplicationID(validating: app)
        let client = try client.client()
        if !yes {
            _ = try await client.application(app)
            guard
                let answer = Terminal.ask(
                    "This deletes \(app) and its data for good. Type its name to go on:"
                )
            else {
                throw MartletError(.badRequest, "delete \(app) needs --yes where nobody can be asked")
            }
            guard answer == app.rawValue else { throw MartletError(.cancelled, "nothing was deleted") }
        }
        try await client.delete(app)
        Terminal.note("deleted \(app)")
    }
}

/// `martlet open`.
struct Open: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print an app's address and open it in the browser."
    )

    @Argument(help: "The app's name.") var app: String?
    @Flag(help: "Only print the address.") var print = false
    @OptionGroup var client: ClientOptions

    func run() async throws {
        let status = try await client.client().application(try AppName.resolve(app))
        Terminal.print(status.url)
        let environment = ProcessInfo.processInfo.environment
        let hasDisplay = environment["DISPLAY"] != nil || environment["WAYLAND_DISPLAY"] != nil
        guard !print, hasDisplay, let program = Programs.find("xdg-open") else { return }
        let process = Process()
        process.executableURL = program
        process.arguments = [status.url]
        try process.run()
    }
}

extension CronStatus {
    /// One line for people.
    var text: String {
        var parts = ["\(job)"]
        if job.catchUp == .skip { parts.append("(missed times are skipped)") }
        parts.append(nextAt.map { "next \(JSONFormat.time($0))" } ?? "never: there is no such day")
        if isRunning {
            parts.append("running now")
        } else if let slot = lastSlotAt {
            let time = lastMilliseconds.map { " (\(DurationText.format(.milliseconds($0))))" } ?? ""
            let result =
                lastError.map { "failed: \($0)" } ?? (lastMilliseconds == nil ? "was cut off" : "ok\(time)")
            parts.append("last \(JSONFormat.time(slot)) \(result)")
        }
        return parts.joined(separator: ", ")
    }
}

extension Deployment {
    /// Prints the result of a deployment.
    func report(asJSON: Bool) throws {
        for warning in warnings { Terminal.warning(warning) }
        if asJSON { return try Terminal.json(self) }
        let time = DurationText.format(.milliseconds(elapsedMilliseconds))
        let what = previousVersion == version ? "is unchanged at" : "runs"
        Terminal.note("\(app) \(what) version \(version.short) (\(time))")
        Terminal.print(url)
    }
}

/// An app's status with what was done with it of late.
private struct ApplicationDetails: Encodable {
    let status: ApplicationStatus
    let operations: [OperationRecord]

    private enum Key: String, CodingKey {
        case operations
    }

    func encode(to encoder: any Encoder) throws {
        try status.encode(to: encoder)
        guard !operations.isEmpty else { return }
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(operations, forKey: .operations)
    }
}
