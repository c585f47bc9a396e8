import Control
import ControlAPI
import ControlClient
import Foundation
import Logging
import ServiceLifecycle

/// An API on a free port of the loopback address, with its service and a folder, all gone at the end.
struct APIFixture: Sendable {
    let service: RecordingService
    let client: APIClient
    let endpoint: Endpoint
    let token: APIToken
    let folder: URL

    static func with<Result: Sendable>(
        gate: Gate? = nil,
        maximumUploadBytes: Int = 1 << 20,
        maximumDeployments: Int = 2,
        protectsMetrics: Bool = false,
        metrics: PrometheusRegistry? = PrometheusRegistry(),
        dashboard: URL? = nil,
        _ body: @escaping @Sendable (APIFixture) async throws -> Result
    ) async throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "martlet-api-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var random = SystemRandomNumberGenerator()
        let token = APIToken.random(using: &random)
        let service = RecordingService(gate: gate)
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        let api = ControlAPI(
            configuration: APIConfiguration(
                address: .host("127.0.0.1", port: 0),
                domain: "localhost",
                uploadsFolder: folder.appending(path: "uploads"),
                maximumUploadBytes: maximumUploadBytes,
                maximumDeployments: maximumDeployments,
                protectsMetrics: protectsMetrics,
                heartbeat: .milliseconds(100),
                dashboard: dashboard
            ),
            service: service,
            authenticator: SingleTokenAuthenticator(token: token, user: .local),
            version: "1.2.3",
            health: { Health(checks: [Health.Check(name: "host", status: .ok)]) },
            metrics: metrics,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            onReady: { port in continuation.yield(port ?? 0) }
        )
        let group = ServiceGroup(
            services: [api],
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            var iterator = ports.makeAsyncIterator()
            let endpoint = try Endpoint(validating: "http://127.0.0.1:\(await iterator.next() ?? 0)")
            let fixture = APIFixture(
                service: service,
                client: APIClient(endpoint: endpoint, token: token),
                endpoint: endpoint,
                token: token,
                folder: folder
            )
            do {
                let result = try await body(fixture)
                await group.triggerGracefulShutdown()
                try await tasks.waitForAll()
                return result
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
        }
    }

    /// Makes a request with curl, which knows nothing of our client.
    func curl(_ path: String, _ arguments: String...) async throws -> (status: Int, body: String) {
        // Waiting for a process blocks a thread, and the few that run async code are the server's, too.
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(with: Result { try self.runCurl(path, arguments) })
            }
        }
    }

    private func runCurl(_ path: String, _ arguments: [String]) throws -> (status: Int, body: String) {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments =
            ["curl", "-sS", "--max-time", "60", "-w", "\n%{http_code}", "--noproxy", "*"] + arguments
            + ["\(endpoint)\(path)"]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        var lines = String(decoding: data, as: UTF8.self).split(
            separator: "\n",
            omittingEmptySubsequences: false
        )
        let status = Int(lines.removeLast()) ?? 0
        return (status, lines.joined(separator: "\n"))
    }

    /// Where the machine has one (Debian: chromium).
    static let browser = ["/usr/bin/chromium", "/usr/bin/google-chrome"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }

    /// What a browser has made of a page a while after it opened.
    func browse(_ path: String, with browser: String) async throws -> String {
        let arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000",
            "--user-data-dir=\(folder.path)/browser", "--dump-dom", "\(endpoint)\(path)",
        ]
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(with: Result { try Self.output(of: browser, arguments) })
            }
        }
    }

    private static func output(of program: String, _ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
    }

    /// Waits until a condition holds, for at most 30 s.
    static func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
        for _ in 0..<600 {
            if try await condition() { return true }
            try await Task.sleep(for: .milliseconds(50))
        }
        return false
    }
}
