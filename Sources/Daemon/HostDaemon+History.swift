public import Control
public import Foundation
import Logging
import Proxy

extension HostDaemon: DatabaseService {
    public func databases(of app: ApplicationID) async throws -> [DatabaseStatus] {
        _ = try entry(app)
        return try await replicated().statuses(of: app)
    }

    public func restoreDatabases(of app: ApplicationID, at time: Date) async throws -> DatabaseRestore {
        let databases = try replicated()
        let entry = try change(app, try self.entry(app).record)
        defer { entry.isChanging = false }
        do {
            try await databases.checkHistory(of: app, at: time)
            let fork = try await safetyFork(of: app, entry)
            let report = try await atRest(entry, databases) { try await databases.goBack(app, to: time) }
            logs.log(of: app).note(
                "databases were taken back to \(JSONFormat.time(time)); \(fork) has the state from before",
                version: entry.record.version,
                level: .info
            )
            return DatabaseRestore(
                app: app,
                time: time,
                fork: fork,
                databases: report.databases,
                bytes: Int(report.bytes),
                epoch: report.epoch
            )
        } catch {
            throw MartletError(error, while: "restore \(app)")
        }
    }

    public func fork(
        _ app: ApplicationID,
        as name: ApplicationID,
        at time: Date?,
        owner: UserID
    ) async throws -> DatabaseFork {
        let databases = try replicated()
        let entry = try change(app, try self.entry(app).record)
        defer { entry.isChanging = false }
        do {
            if let time { try await databases.checkHistory(of: app, at: time) }
            let report = try await copy(entry, as: name, at: time, owner: owner)
            return DatabaseFork(
                app: name,
                source: app,
                url: url(of: name),
                databases: report.databases,
                bytes: Int(report.bytes)
            )
        } catch {
            throw MartletError(error, while: "fork \(app)")
        }
    }

    public func export(_ database: String?, of app: ApplicationID, at time: Date?) async throws -> URL {
        _ = try entry(app)
        let path = folder.stagingPath()
        try await replicated().export(database, of: app, at: time, to: path)
        return URL(fileURLWithPath: path)
    }

    public func query(_ query: DatabaseQuery, of app: ApplicationID) async throws -> DatabaseResult {
        let databases = try replicated()
        _ = try entry(app)
        guard query.sql.utf8.count <= DatabaseQuery.maximumBytes else {
            throw MartletError(
                .tooLarge,
                "a query has at most \(ByteCount.format(DatabaseQuery.maximumBytes))"
            )
        }
        _ = try await databases.place(app)
        // As a worker does it: whoever opens an asleep database alone breaks the chain of its replica.
        _ = try await databases.opened(app, durability: .async)
        do {
            let names = try await databases.statuses(of: app).map(\.name)
            let name = try AppDatabases.choose(query.database, of: app, among: names)
            try await databases.sync(app)
            let result = try await run(query, on: name, of: app)
            if query.canWrite { try await databases.sync(app) }
            await databases.closed(app)
            return result
        } catch {
            await databases.closed(app)
            throw MartletError(error, while: "query \(app)")
        }
    }

    // MARK: - Parts

    private func replicated() throws -> AppDatabases {
        guard let databases else {
            throw MartletError(
                .unavailable,
                "this host keeps no replicas; start it with --store FOLDER or --s3 s3://BUCKET/PREFIX"
            )
        }
        return databases
    }

    /// Holds an app's requests, lets running ones finish, ends its worker, and calls `body` with everything replicated.
    private func atRest<Result: Sendable>(
        _ entry: Entry,
        _ databases: AppDatabases,
        _ body: () async throws -> Result
    ) async throws -> Result {
        let app = entry.record.id
        handle(.suspend, entry)
        // Only as long as this does: whatever was held is then served.
        defer { handle(.resume, entry) }
        let deadline = uptime() + configuration.timeouts.drain + configuration.timeouts.stop + .seconds(15)
        while entry.awake != nil {
            guard uptime() < deadline else {
                throw MartletError(.timeout, "the worker of \(app) has not ended; see `martlet logs \(app)`")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        _ = try await databases.settled(app, within: .seconds(30))
        return try await body()
    }

    private func safetyFork(of app: ApplicationID, _ entry: Entry) async throws -> ApplicationID {
        let format = Date.VerbatimFormatStyle(
            format:
                "\(year: .defaultDigits)\(month: .twoDigits)\(day: .twoDigits)-\(hour: .twoDigits(clock: .twentyFourHour, hourCycle: .zeroBased))\(minute: .twoDigits)\(second: .twoDigits)",
            timeZone: .gmt,
            calendar: Calendar(identifier: .gregorian)
        )
        let suffix = "-before-" + Date().formatted(format)
        let name = try ApplicationID(validating: app.rawValue.prefix(63 - suffix.count) + suffix)
        _ = try await copy(entry, as: name, at: nil, owner: entry.record.owner)
        return name
    }

    /// Makes another app with the version, the variables and the data of one.
    private func copy(
        _ source: Entry,
        as name: ApplicationID,
        at time: Date?,
        owner: UserID
    ) async throws -> PlacementReport {
        let app = source.record.id
        guard entries[name] == nil else {
            throw MartletError(.nameTaken, "there is an app named \(name) already; choose another name")
        }
        guard let id = source.record.version, var version = try await store.version(id, of: app) else {
            throw MartletError(.conflict, "\(app) has no version yet")
        }
        let databases = try replicated()
        var record = try await store.claim(name, for: owner, now: Date())
        let entry = Self.makeEntry(record, limits: configuration.limits)
        entry.isChanging = true
        entries[name] = entry
        defer { entry.isChanging = false }
        do {
            let report = try await databases.fork(app, as: name, at: time)
            version.app = name
            try await store.add(version)
            try await store.set(try await variables(of: app, for: name), of: name)
            try await store.use(version, now: Date())
            record.version = id
            record.deployedAt = Date()
            record.sleepAfter = source.record.sleepAfter
            entry.record = record
            table[name.rawValue] = entry.cell
            try await keepRecord(of: name)
            return report
        } catch {
            entries[name] = nil
            await databases.forget(name)
            try await store.remove(name)
            throw error
        }
    }

    /// The variables of an app, with secrets sealed for another.
    private func variables(
        of app: ApplicationID,
        for name: ApplicationID
    ) async throws -> [StateStore.Variable] {
        try await store.environment(of: app).map { variable in
            guard variable.isSecret else { return variable }
            let secret = try secrets.open(variable.value, app: app.rawValue, name: variable.name)
            var sealed = variable
            sealed.value = try secrets.seal(secret, app: name.rawValue, name: variable.name)
            return sealed
        }
    }

    // MARK: - SQL

    private static let queryTime = Duration.seconds(30)

    /// Runs SQL in a process of its own, in a sandbox with the data folder alone.
    ///
    /// Not in this process: locks on a file are a process's, and this one opens and closes databases to find them.
    private func run(
        _ query: DatabaseQuery,
        on name: String,
        of app: ApplicationID
    ) async throws -> DatabaseResult {
        struct Order: Codable {
            var database: String
            var sql: String
            var canWrite: Bool
            var mostRows: Int
        }
        struct Answer: Codable {
            var statements: [DatabaseResult.Statement]?
            var error: String?
        }
        let order = Order(database: name, sql: query.sql, canWrite: query.canWrite, mostRows: 10_000)
        let encoded = try JSONFormat.encoder().encode(order).base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_")
        let scratch = folder.stagingPath()
        try StateFolder.make(scratch, mode: 0o700)
        // The next start of the daemon would remove it too.
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        let (output, errors) = (QueryOutput(), ToolOutput())
        let group = try groups.make("q" + UUID().uuidString.prefix(8))
        defer { _ = group.destroy() }
        try group.set(ControlGroupLimits(memoryBytes: 512 << 20, processes: 64))
        let child = try isolator.launchTool(
            [
                "run", "--no-prompt", "--no-config", "--no-lock", "--no-remote", "--allow-read=/app",
                "--allow-write=/app", "/runtime/database.ts", "--root", "/app", encoded,
            ],
            files: folder.data(app.rawValue),
            cache: scratch,
            environment: [:],
            group: group,
            network: nil,
            onLine: { kind, line in
                if kind == .error { errors.take(line) } else { output.take(line) }
            }
        )
        guard await child.end.wait(atMost: Self.queryTime) != nil else {
            child.signal(SIGKILL)
            throw MartletError(.timeout, "the query was not done in \(Self.queryTime.milliseconds / 1000) s")
        }
        guard let bytes = output.bytes else {
            throw MartletError(
                .tooLarge,
                "the result has more than \(ByteCount.format(QueryOutput.limit)); ask for less"
            )
        }
        guard let answer = try? JSONFormat.decoder().decode(Answer.self, from: Data(bytes)) else {
            throw MartletError(.internal, "SQL could not be run: \(errors.text)")
        }
        if let error = answer.error { throw MartletError(.badRequest, error) }
        return DatabaseResult(statements: answer.statements ?? [])
    }
}
