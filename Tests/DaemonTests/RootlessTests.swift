import TestSupport
@testable import Daemon
import Dispatch
import Foundation
import Testing

/// A host that an ordinary user runs, with no rights over this machine.
struct RootlessTests {
    /// One that no other process has.
    private static let user = Int.random(in: 61_000..<64_000)

    @Test(.enabled(if: Self.isPossible, "takes root, to become a user who can read this tree"))
    func `an ordinary user isolates apps as root does, but for the limits, which it is told`() async throws {
        try await Self.withFolder { folder in
            // Without a word nothing starts.
            let refused = try Self.start(folder, without: "")
            let end = await refused.child.end.wait(atMost: .seconds(90))
            #expect(end != nil && end != .exited(status: 0), "\(String(describing: end))")
            #expect(refused.output.text.contains("--without limits"), "\(refused.output.text)")

            let host = try Self.start(folder, without: "limits")
            defer { host.child.signal(SIGKILL) }
            let port = try #require(await host.port.wait(atMost: .seconds(90)), "\(host.output.text)")
            for number in 1...2 {
                let answer = try await HTTPClient.send(host: "counter.localhost", port: port)
                #expect(answer.body == "{\"n\":\(number)}", "\(answer)")
            }
            let workers = Self.runtimes()
            #expect(!workers.isEmpty)
            let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
            for worker in workers {
                let status = ControlGroupDetection.text("/proc/\(worker)/status")
                // It may have ended meanwhile.
                guard !status.isEmpty else { continue }
                for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
                    #expect(status.contains(line), "\(line)")
                }
                let network = try? FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/\(worker)/ns/net"
                )
                #expect(network != own)
            }
            await host.child.terminate(grace: .seconds(20))
            try await HostFixture.wait("its workers are gone") { Self.runtimes().isEmpty }
        }
    }

    // MARK: - Parts

    private struct Host {
        let child: ChildProcess
        let port: Once<UInt16>
        let output: ToolOutput
    }

    private static var program: String {
        // Test bundle and program are in one folder.
        URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
            .appending(path: "martlet-host-benchmark").path
    }

    private static var tools: String {
        ProcessInfo.processInfo.environment["MARTLET_TOOLS"] ?? HostFixture.root.path + "/.tools"
    }

    /// How another program is run by that user, who is then root of a user namespace as `martlet up` makes it.
    private static let disguise = [
        "--reuid=\(user)", "--regid=\(user)", "--clear-groups", "unshare", "--user", "--map-root-user",
        "--mount", "--",
    ]

    static var isPossible: Bool {
        guard geteuid() == 0, FileManager.default.isExecutableFile(atPath: "/usr/bin/setpriv") else {
            return false
        }
        let probe = Process()
        probe.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
        let harness = HostFixture.root.path + "/Runtime/harness.ts"
        let script = "test -x \"$0\" && test -r \"$1\" && \"$2\" --version"
        probe.arguments = disguise + ["/bin/sh", "-c", script, program, harness, tools + "/run/bin/deno"]
        probe.standardOutput = FileHandle.nullDevice
        probe.standardError = FileHandle.nullDevice
        do { try probe.run() } catch { return false }
        probe.waitUntilExit()
        return probe.terminationStatus == 0
    }

    private static func start(_ folder: String, without: String) throws -> Host {
        let (port, output) = (Once<UInt16>(), ToolOutput())
        let child = try ChildProcess.start(
            .init(
                path: "/usr/bin/setpriv",
                arguments: disguise + [program, "serve", folder],
                environment: [
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": folder, "MARTLET_TOOLS": tools,
                    "MARTLET_WITHOUT": without, "SWIFT_BACKTRACE": "enable=no",
                ],
                directory: HostFixture.root.path
            ),
            queue: DispatchQueue(label: "rootless"),
            onLine: { _, line in
                output.take(line)
                let text = String(decoding: line, as: UTF8.self)
                if text.hasPrefix("port "), let number = UInt16(text.dropFirst(5)) { port.set(number) }
            }
        )
        return Host(child: child, port: port, output: output)
    }

    private static func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        guard chown(folder, UInt32(user), UInt32(user)) == 0 else {
            throw SystemError(errno, "give \(folder) to another user")
        }
        try await body(folder)
    }

    /// Processes of that user that run the runtime's program.
    private static func runtimes() -> [Int32] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return all.compactMap { Int32($0) }.filter { pid in
            let status = ControlGroupDetection.text("/proc/\(pid)/status")
            return status.contains("Name:\tdeno\n") && status.contains("\nUid:\t\(user)\t")
        }
    }
}
