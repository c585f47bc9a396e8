import Control
@testable import Daemon
import Foundation
import Proxy
import Testing

/// A server in a process of its own that is stopped (SIGSTOP): the kernel goes on taking connections and bytes for it.
final class FrozenProgram {
    let route: RouteHost
    private let process: Process

    private init(route: RouteHost, process: Process) {
        self.route = route
        self.process = process
    }

    static func start() async throws -> FrozenProgram {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [
            "python3", "-u", "-c",
            """
            import http.server
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
            print(server.server_port)
            server.serve_forever()
            """,
        ]
        process.environment = ["PATH": "/usr/bin:/bin:/usr/local/bin"]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        let port = try #require(UInt16(line.trimmingCharacters(in: .whitespacesAndNewlines)))
        kill(process.processIdentifier, SIGSTOP)
        let status = "/proc/\(process.processIdentifier)/stat"
        try await HostFixture.wait("the program is stopped") {
            try String(contentsOfFile: status, encoding: .utf8).contains(") T ")
        }
        return FrozenProgram(
            route: RouteHost(
                id: try HostID(validating: "frozen"),
                peer: HostAddress(address: "127.0.0.1", port: port)
            ),
            process: process
        )
    }

    /// Requests that a host has sent here and that are not over.
    func forwarded(by member: ClusterFixture.Member) -> Int {
        member.daemon.membership?.directory.peer(route.id)?.waiting.activity.runningRequests ?? 0
    }

    func end() {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }
}
