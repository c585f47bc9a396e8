import CSandbox
import Control
@testable import Daemon
import Dispatch
import Foundation
import Logging
import TestSupport
import Testing

/// A daemon in a process of its own that is killed.
@Suite(.serialized) struct CrashTests {
    @Test func `a daemon killed with kill -9 leaves nothing that runs, and another one goes on where it was`()
        async throws
    {
        let folder = "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var answers: [String] = []
        for round in 0..<3 {
            let server = try await Server.start(folder)
            let answer = try await HTTPClient.send(host: "counter.localhost", port: server.port)
            answers.append(answer.body)
            let workers = try Self.workers(of: folder)
            #expect(!workers.isEmpty)
            server.child.signal(SIGKILL)
            _ = await server.child.end.wait()
            try await HostFixture.wait("the workers of round \(round) are gone") {
                workers.allSatisfy { !$0.isAlive }
            }
        }
        #expect(answers == [#"{"n":1}"#, #"{"n":2}"#, #"{"n":3}"#])
        // What the last one left is removed by the next, and that one ends in order.
        let last = try await Server.start(folder)
        await last.child.terminate(grace: .milliseconds(1))
        let groups = try SandboxSelection(
            HostFixture.configuration(URL(fileURLWithPath: folder)),
            folder: StateFolder(path: folder),
            logger: .init(label: "test")
        ).groups
        for group in groups.existing() { #expect(group.destroy()) }
    }

    @Test func `a daemon killed while its workers start leaves nothing that runs`() async throws {
        let folder = "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var seen = 0
        for round in 0..<8 {
            let (child, _) = try Server.launch(folder)
            // A sandbox in its first moments: soon after its first process is there.
            try await HostFixture.wait("a worker of round \(round) starts") {
                !Self.sandboxes(of: folder).isEmpty || child.end.value != nil
            }
            try await Task.sleep(for: .milliseconds(Int.random(in: 0..<12)))
            child.signal(SIGKILL)
            _ = await child.end.wait()
            seen += Self.sandboxes(of: folder).count
            try await HostFixture.wait("all sandboxes of round \(round) are gone") {
                Self.sandboxes(of: folder).isEmpty
            }
        }
        print("\(seen) sandboxes were left for a moment")
        let groups = try SandboxSelection(
            HostFixture.configuration(URL(fileURLWithPath: folder)),
            folder: StateFolder(path: folder),
            logger: .init(label: "test")
        ).groups
        for group in groups.existing() { #expect(group.destroy()) }
    }

    /// Processes of sandboxes: those that name a folder below the daemon's.
    private static func sandboxes(of folder: String) -> [Int32] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return all.compactMap { Int32($0) }.filter { id in
            let words = ControlGroupDetection.text("/proc/\(id)/cmdline").split(separator: "\0")
            return words.first?.hasSuffix("bwrap") == true
                && words.contains { $0.hasPrefix(folder + "/run/") }
        }
    }

    /// The workers' processes that a daemon has noted.
    private static func workers(of folder: String) throws -> [ProcessIdentity] {
        let run = StateFolder(path: folder).run
        return try FileManager.default.contentsOfDirectory(atPath: run).filter { $0.hasSuffix(".pid") }
            .compactMap { ProcessIdentity(text: ControlGroupDetection.text(run + "/" + $0)) }
    }

    private struct Server {
        let child: ChildProcess
        let port: UInt16

        static func start(_ folder: String) async throws -> Server {
            let (child, found) = try launch(folder)
            guard let port = await found.wait(atMost: .seconds(90)) else {
                child.signal(SIGKILL)
                throw HTTPClient.Failure(description: "the daemon did not start")
            }
            return Server(child: child, port: port)
        }

        /// Starts a daemon without waiting for it; the second is set to its port.
        static func launch(_ folder: String) throws -> (ChildProcess, Once<UInt16>) {
            let found = Once<UInt16>()
            var environment = ProcessInfo.processInfo.environment
            environment["MARTLET_TOOLS"] = environment["MARTLET_TOOLS"] ?? HostFixture.root.path + "/.tools"
            let child = try ChildProcess.start(
                .init(
                    path: product("martlet-host-benchmark"),
                    arguments: ["serve", folder],
                    environment: environment,
                    directory: HostFixture.root.path
                ),
                queue: DispatchQueue(label: "server"),
                onLine: { _, line in
                    let text = String(decoding: line, as: UTF8.self)
                    if text.hasPrefix("port "), let port = UInt16(text.dropFirst(5)) { found.set(port) }
                }
            )
            return (child, found)
        }
    }
}
