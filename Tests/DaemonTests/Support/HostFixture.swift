import Archive
import Control
import Daemon
import Foundation
import Logging
import TestSupport
import Testing

/// A whole host in a temporary folder, with real workers.
final class HostFixture: Sendable {
    let folder: URL
    let daemon: HostDaemon
    let port: UInt16
    /// What it logged as an error, with the app that it is about.
    let said: Lines

    private init(folder: URL, daemon: HostDaemon, port: UInt16, said: Lines) {
        self.said = said
        self.folder = folder
        self.daemon = daemon
        self.port = port
    }

    /// The root of the source tree.
    static var root: URL { repositoryURL }

    static func configuration(_ folder: URL) throws -> HostConfiguration {
        var configuration = HostConfiguration(
            folder: folder.appending(path: "state"),
            host: try HostID(validating: "test"),
            listeners: [.init(port: 0)],
            runtimeFolder: root.appending(path: "Runtime"),
            deno: URL(fileURLWithPath: tool("deno"))
        )
        configuration.pool.minimum = 1
        configuration.pool.maximum = 2
        configuration.sleep.after = nil
        configuration.sleep.interval = .milliseconds(50)
        // A busy machine is no failure.
        configuration.timeouts.boot = .seconds(60)
        configuration.timeouts.start = .seconds(40)
        configuration.limits.holdTime = .seconds(60)
        return configuration
    }

    /// Runs a host for the duration of `body`, and cleans up whatever happens.
    static func with(
        _ change: (inout HostConfiguration) throws -> Void = { _ in },
        _ body: (HostFixture) async throws -> Void
    ) async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var configuration = try configuration(folder)
        try change(&configuration)
        try await with(configuration, folder, body)
    }

    /// Runs a host with an existing folder.
    static func with(
        _ configuration: HostConfiguration,
        _ folder: URL,
        _ body: (HostFixture) async throws -> Void
    ) async throws {
        let said = Lines()
        var logger = Logger(label: "test") {
            MultiplexLogHandler([StreamLogHandler.standardError(label: $0), ErrorRecord(lines: said)])
        }
        logger.logLevel = ProcessInfo.processInfo.environment["TEST_LOG"] == nil ? .error : .debug
        let daemon = try HostDaemon(configuration, logger: logger)
        try await daemon.start(api: nil)
        let running = Task { try await daemon.run() }
        do {
            let port = try #require(await daemon.port)
            try await body(HostFixture(folder: folder, daemon: daemon, port: port, said: said))
        } catch {
            running.cancel()
            _ = await running.result
            throw error
        }
        running.cancel()
        _ = await running.result
    }

    // MARK: - What tests do

    /// Deploys files as an app.
    @discardableResult
    func deploy(_ app: String, _ files: [String: String], owner: UserID = .local) async throws -> Deployment {
        let upload = try upload(app, files, owner: owner)
        defer { try? FileManager.default.removeItem(at: upload.archive) }
        return try await daemon.deploy(upload) { _ in }
    }

    func upload(_ app: String?, _ files: [String: String], owner: UserID = .local) throws -> Upload {
        let source = folder.appending(path: "source-\(UUID().uuidString)")
        for (name, text) in files {
            let file = source.appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try Data(text.utf8).write(to: file)
        }
        let archive = folder.appending(path: "upload-\(UUID().uuidString).tar.gz")
        _ = try ArchiveWriter().pack(source, to: archive)
        try FileManager.default.removeItem(at: source)
        return Upload(name: try app.map(ApplicationID.init(validating:)), archive: archive, owner: owner)
    }

    func send(
        _ method: String = "GET",
        _ path: String = "/",
        to app: String,
        body: String = "",
        timeout: Int = 60
    ) async throws -> HTTPClient.Answer {
        try await HTTPClient.send(
            method,
            path,
            host: "\(app).localhost",
            port: port,
            body: body,
            timeout: timeout
        )
    }

    func state(of app: String) async throws -> ApplicationState {
        try await daemon.application(ApplicationID(validating: app)).state
    }

    /// Waits until an app is in a state; generous, because other things run on the machine.
    func wait(_ app: String, for state: ApplicationState, atMost seconds: Int = 60) async throws {
        try await Self.wait("\(app) is \(state)", atMost: seconds) { try await self.state(of: app) == state }
    }

    static func wait(
        _ what: String,
        atMost seconds: Int = 60,
        _ condition: () async throws -> Bool
    ) async throws {
        try await eventually(what, within: .seconds(seconds), condition)
    }
}

/// Keeps the errors that a host logs.
private struct ErrorRecord: LogHandler {
    let lines: Lines
    var logLevel: Logger.Level = .error
    var metadata: Logger.Metadata = [:]

    init(lines: Lines) { self.lines = lines }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        guard event.level >= .error else { return }
        lines.add("\(event.message): \(event.metadata?["app"].map { "\($0)" } ?? "-")")
    }
}
