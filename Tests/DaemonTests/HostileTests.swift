import Control
import Daemon
import Foundation
import Glibc
import TestSupport
import Testing

/// Apps that attack, and a neighbour that must not notice.
@Suite(.enabled(if: TestInternet.isPossible)) struct HostileTests {
    @Test func `no attack reaches anything and the neighbour answers after each`() async throws {
        try await HostileHost.with { host in
            let names = try await host.names()
            #expect(names.count >= 50)
            for name in names {
                let escaped = try await host.attack(name)
                #expect(escaped == nil, "\(name)")
                try await host.expectNeighbour(after: name)
            }
            // What an attacker leaves is no use to it in its next worker either.
            let app = try ApplicationID(validating: HostileHost.attacker)
            try await host.fixture.daemon.killWorkers(of: app)
            try await HostFixture.wait("another worker of the attacker answers") {
                try await host.fixture.send(to: HostileHost.attacker).status == 200
            }
            for name in [
                "leave something in DENO_DIR for the next worker",
                "change the compiled modules that all workers read",
                "read the neighbour's files by symbolic link",
            ] {
                var escaped = try await host.attack(name)
                // The worker that answered last may be the one that is being killed.
                for _ in 1...40 where escaped?.hasPrefix("the attacker answered with 50") == true {
                    try await Task.sleep(for: .milliseconds(250))
                    escaped = try await host.attack(name)
                }
                #expect(escaped == nil, "\(name), in the next worker")
            }
        }
    }

    @Test(
        .enabled(
            if: ProcessInfo.processInfo.environment["MARTLET_SOAK"] != nil
                && FileManager.default.isExecutableFile(atPath: "/usr/bin/crun"),
            "the same attacks as above, by make soak"
        )
    )
    func `no attack reaches anything out of a sandbox by crun`() async throws {
        try await HostileHost.with {
            $0.sandbox = .oci(URL(fileURLWithPath: "/usr/bin/crun"))
        } _: { host in
            for name in try await host.names() {
                let escaped = try await host.attack(name)
                #expect(escaped == nil, "\(name)")
                try await host.expectNeighbour(after: name)
            }
        }
    }

    struct Bomb: Sendable, CustomTestStringConvertible {
        var path: String
        /// What the caller is told; nil where the app goes on and answers itself.
        var code: String?
        var statuses: [Int]
        var testDescription: String { path }
    }

    static let bombs = [
        Bomb(path: "loop", code: "request_timeout", statuses: [504]),
        Bomb(path: "never", code: nil, statuses: [504]),
        Bomb(path: "heap", code: "worker_out_of_memory", statuses: [502]),
        Bomb(path: "buffers", code: "worker_out_of_memory", statuses: [502]),
        Bomb(path: "wasm", code: "worker_out_of_memory", statuses: [502]),
        // The kernel refuses the write, the app fails by itself.
        Bomb(path: "file", code: nil, statuses: [500]),
        Bomb(path: "files", code: "disk_full", statuses: [507]),
        Bomb(path: "inodes", code: "disk_full", statuses: [507]),
        // On a slow machine its time is over first.
        Bomb(path: "threads", code: nil, statuses: [502, 504]),
        Bomb(path: "forks", code: nil, statuses: [200, 500, 502, 504]),
        Bomb(path: "log", code: nil, statuses: [200, 504]),
        Bomb(path: "split", code: nil, statuses: [200]),
        Bomb(path: "headers", code: nil, statuses: [200, 502]),
        Bomb(path: "lying", code: nil, statuses: [200, 502]),
    ]

    @Test func `an app that goes beyond its limits is told which, and only it`() async throws {
        try await HostileHost.with { host in
            let app = try ApplicationID(validating: HostileHost.attacker)
            for bomb in Self.bombs {
                let name = "bomb-\(bomb.path)"
                try await host.fixture.daemon.copyForBenchmark(app, name)
                do {
                    let answer = try await host.fixture.send("GET", "/\(bomb.path)", to: name)
                    #expect(
                        bomb.statuses.contains(answer.status),
                        "\(bomb.path): \(answer.status) \(answer.body.prefix(300))"
                    )
                    if let code = bomb.code {
                        #expect(
                            answer.body.contains("\"code\":\"\(code)\""),
                            "\(bomb.path): \(answer.body.prefix(300))"
                        )
                        try await expectLog(host, name, bomb)
                    }
                    #expect(answer.headers["set-cookie"] == nil, "\(bomb.path)")
                } catch let error as HTTPClient.Failure where bomb.code == nil {
                    // An answer that was cut off in the middle.
                    #expect(bomb.path == "lying", "\(bomb.path): \(error)")
                }
                try await host.expectNeighbour(after: bomb.path)
            }
            try await expectEndlessAnswersEnd(host)
        }
    }

    private func expectLog(_ host: HostileHost, _ name: String, _ bomb: Bomb) async throws {
        let app = try ApplicationID(validating: name)
        try await HostFixture.wait("the log of \(name) says why the worker ended") {
            for try await record in try await host.fixture.daemon.logs(of: app, since: nil, follow: false)
            where record.stream == .system && record.message.contains("the worker") { return true }
            return false
        }
    }

    /// Clients that leave an endless or slow answer, and many sockets.
    private func expectEndlessAnswersEnd(_ host: HostileHost) async throws {
        let app = try ApplicationID(validating: HostileHost.attacker)
        for path in ["endless", "slow", "socket"] {
            try await host.fixture.daemon.copyForBenchmark(app, "bomb-\(path)")
            // Wakes it.
            _ = try await host.fixture.send(to: "bomb-\(path)")
            for _ in 0..<20 {
                let upgrade =
                    path == "socket"
                    ? "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" : ""
                let fd = try HTTPClient.connect(port: host.fixture.port, timeout: 60)
                defer { close(fd) }
                let request = "GET /\(path) HTTP/1.1\r\nHost: bomb-\(path).localhost\r\n\(upgrade)\r\n"
                _ = send(fd, request, request.utf8.count, Int32(MSG_NOSIGNAL))
                var buffer = [UInt8](repeating: 0, count: 4096)
                #expect(recv(fd, &buffer, buffer.count, 0) > 0, "\(path)")
            }
            try await host.expectNeighbour(after: path)
        }
    }
}
