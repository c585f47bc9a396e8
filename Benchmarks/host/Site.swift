import Archive
import Control
import Daemon
import Foundation
import Logging

/// A host in a temporary folder.
final class Site: Sendable {
    let folder: URL
    let daemon: HostDaemon
    let port: UInt16

    private init(folder: URL, daemon: HostDaemon, port: UInt16) {
        self.folder = folder
        self.daemon = daemon
        self.port = port
    }

    static let root = URL(fileURLWithPath: FileManager.default.currentDirectoryPath)
    static let tools = URL(
        fileURLWithPath: ProcessInfo.processInfo.environment["MARTLET_TOOLS"] ?? root.path + "/.tools"
    )
    static let deno = tools.appending(path: "run/bin/deno")

    static func configuration(_ folder: URL) throws -> HostConfiguration {
        var configuration = HostConfiguration(
            folder: folder,
            host: try HostID(validating: "benchmark"),
            listeners: [.init(port: 0)],
            runtimeFolder: root.appending(path: "Runtime"),
            deno: deno
        )
        configuration.sleep.after = nil
        configuration.limits.holdTime = .seconds(60)
        return configuration
    }

    static func with(
        _ change: (inout HostConfiguration) -> Void = { _ in },
        _ body: (Site) async throws -> Void
    ) async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-bench-\(getpid())-\(UInt32.random(in: 0...9999))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var configuration = try configuration(folder)
        change(&configuration)
        try await with(configuration, body)
    }

    static func with(_ configuration: HostConfiguration, _ body: (Site) async throws -> Void) async throws {
        var logger = Logger(label: "benchmark") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .error
        let daemon = try HostDaemon(configuration, logger: logger)
        try await daemon.start(api: nil)
        let running = Task { try await daemon.run() }
        let result: Result<Void, any Error>
        do {
            try await body(Site(folder: configuration.folder, daemon: daemon, port: await daemon.port ?? 0))
            result = .success(())
        } catch { result = .failure(error) }
        running.cancel()
        _ = await running.result
        try result.get()
    }

    /// A small app with a database, as people write it.
    static let small = """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("create table if not exists visits (n integer)");
        export default {
          fetch() {
            db.prepare("insert into visits values (1)").run();
            return Response.json(db.prepare("select count(*) as n from visits").get());
          },
        };
        """

    func archive(_ files: [String: String]) throws -> URL {
        let name = UUID().uuidString
        let source = folder.appending(path: "source-\(name)")
        try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
        for (name, text) in files { try Data(text.utf8).write(to: source.appending(path: name)) }
        let archive = folder.appending(path: "upload-\(name).tar.gz")
        _ = try ArchiveWriter().pack(source, to: archive)
        try FileManager.default.removeItem(at: source)
        return archive
    }

    @discardableResult
    func deploy(_ app: String, _ main: String) async throws -> Deployment {
        try await deploy(app, ["main.ts": main])
    }

    @discardableResult
    func deploy(_ app: String, _ files: [String: String]) async throws -> Deployment {
        let archive = try archive(files)
        defer { try? FileManager.default.removeItem(at: archive) }
        return try await daemon.deploy(
            Upload(name: ApplicationID(validating: app), archive: archive, owner: .local)
        ) { _ in }
    }

    func send(_ app: String) async -> Client.Answer {
        await Client.send(host: "\(app).localhost", port: port)
    }

    /// Sends an app to sleep and waits until it is.
    func sleep(_ app: String, _ state: ApplicationState) async throws {
        let id = try ApplicationID(validating: app)
        while true {
            let now = try await daemon.application(id).state
            if now == state || (now == .frozen && state == .frozen) { return }
            await daemon.putToSleep(id, isDeep: state == .asleep)
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
