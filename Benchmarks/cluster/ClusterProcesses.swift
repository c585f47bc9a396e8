import Control
import Foundation
import StorageTestSupport
import TestSupport

/// A whole cluster of processes: Temporal, control, hosts, with SeaweedFS as their store; and the command line that drives it.
final class ClusterProcesses {
    struct Member {
        let id: String
        let port: UInt16
        let process: Process
    }

    let folder: URL
    private(set) var members: [Member] = []
    private var processes: [Process] = []
    private let program: URL
    private let environment: [String: String]
    private let control: Int
    private let store: String
    private let temporal: String

    init(_ folder: URL, s3: SeaweedFS) throws {
        self.folder = folder
        program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent().appending(path: "martlet")
        guard FileManager.default.isExecutableFile(atPath: program.path) else {
            throw MartletError(.notFound, "build the product martlet too: there is no \(program.path)")
        }
        let ports = freePorts(3)
        control = ports[0]
        temporal = "127.0.0.1:\(ports[1])"
        store = "s3://\(s3.bucket)/cluster?endpoint=\(s3.endpoint)&region=us-east-1&style=path"
        var environment = s3.environment
        for name in ["PATH", "HOME"] { environment[name] = ProcessInfo.processInfo.environment[name] }
        environment["MARTLET_API"] = "http://127.0.0.1:\(control)"
        self.environment = environment
        try Data("a secret that only benchmarks have".utf8).write(to: folder.appending(path: "secret"))
        _ = try start(
            URL(fileURLWithPath: tool("temporal")),
            [
                "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", "\(ports[1])",
                "--http-port",
                "\(ports[2])", "--log-level", "error", "--db-filename",
                folder.appending(path: "temporal.db").path,
            ],
            "temporal"
        )
    }

    /// Starts control and hosts, and waits until all are online.
    func begin(_ names: [String]) async throws {
        try await Self.until("Temporal answers") {
            try await self.run(
                URL(fileURLWithPath: tool("temporal")),
                [
                    "operator", "namespace", "describe", "default", "--address", self.temporal,
                ]
            ).status == 0
        }
        _ = try start(
            program,
            [
                "control", "--data", folder.appending(path: "control").path, "--port", "\(control)",
                "--no-config",
            ]
                + shared,
            "control"
        )
        for name in names { try startHost(name) }
        try await Self.until("all hosts are online") {
            try await self.hosts().filter { $0.state == "online" }.count == names.count
        }
    }

    private func startHost(_ name: String) throws {
        let port = UInt16(freePorts(1)[0])
        let process = try start(
            program,
            [
                "host", "--id", name, "--data", folder.appending(path: name).path, "--port", "\(port)",
                "--runtime", Hosts.root.appending(path: "Runtime").path, "--litestream", tool("litestream"),
                "--deno",
                tool("deno"), "--sleep-after", "1h",
            ] + shared,
            name
        )
        members.removeAll { $0.id == name }
        members.append(Member(id: name, port: port, process: process))
    }

    private var shared: [String] {
        [
            "--store", store, "--temporal", temporal, "--secret-file", folder.appending(path: "secret").path,
            "--log-level", "warning",
        ]
    }

    private func start(_ program: URL, _ arguments: [String], _ name: String) throws -> Process {
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        let log = folder.appending(path: "\(name).log")
        _ = FileManager.default.createFile(atPath: log.path, contents: nil)
        let handle = try FileHandle(forWritingTo: log)
        (process.standardOutput, process.standardError) = (handle, handle)
        try process.run()
        processes.append(process)
        return process
    }

    /// Ends what was started, the last first.
    func stop() {
        for process in processes.reversed() where process.isRunning { process.terminate() }
        let deadline = Date() + 20
        while processes.contains(where: \.isRunning), Date() < deadline { usleep(50_000) }
        for process in processes where process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    /// How long pushes of routes have taken since the slicer's present run began.
    func routePushes() async throws -> RoutePushes {
        let output = try await run(
            URL(fileURLWithPath: tool("temporal")),
            ["workflow", "show", "--workflow-id", "slicer", "--address", temporal, "--output", "json"]
        )
        guard output.status == 0 else {
            throw MartletError(.internal, "read the slicer's history: \(output.text)")
        }
        return try RoutePushes(history: Data(output.text.utf8))
    }

    // MARK: - The command line

    struct Host: Decodable {
        struct Address: Decodable { var port: Int }
        var id: String
        var state: String
        var apps: Int
        var moving: Int
    }

    func hosts() async throws -> [Host] {
        let output = try await martlet("hosts", "--json")
        guard output.status == 0 else { return [] }
        return try JSONDecoder().decode([Host].self, from: Data(output.text.utf8))
    }

    func martlet(_ arguments: String...) async throws -> (status: Int32, text: String) {
        try await run(program, arguments)
    }

    private func run(_ program: URL, _ arguments: [String]) async throws -> (status: Int32, text: String) {
        var environment = environment
        if let token = try? String(contentsOf: folder.appending(path: "control/token"), encoding: .utf8) {
            environment["MARTLET_TOKEN"] = token.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        let (output, errors) = (Pipe(), folder.appending(path: "errors.log"))
        _ = FileManager.default.createFile(atPath: errors.path, contents: nil)
        process.standardOutput = output
        process.standardError = try FileHandle(forWritingTo: errors)
        return try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                do {
                    try process.run()
                    let data = (try output.fileHandleForReading.readToEnd()) ?? Data()
                    process.waitUntilExit()
                    var text = String(decoding: data, as: UTF8.self)
                    if process.terminationStatus != 0 {
                        text += (try? String(contentsOf: errors, encoding: .utf8)) ?? ""
                    }
                    continuation.resume(returning: (process.terminationStatus, text))
                } catch { continuation.resume(throwing: error) }
            }
        }
    }

    /// Runs a command that must work.
    func mustDo(_ arguments: [String]) async throws -> String {
        let result = try await run(program, arguments)
        guard result.status == 0 else {
            throw MartletError(.internal, "martlet \(arguments.joined(separator: " ")): \(result.text)")
        }
        return result.text
    }

    static func until(_ what: String, _ condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(90)
        while try await !condition() {
            guard ContinuousClock.now < deadline else {
                throw MartletError(.timeout, "it never came true that \(what)")
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}
