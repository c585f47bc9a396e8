import Foundation
import TestSupport
import Testing

/// Networks that stand in for the internet and for the machine: nothing leaves them.
///
/// ```
/// daemon's gateway ── machine: 203.0.113.1, 10.1.2.3 ── internet: 198.51.100.7, 2400:cb01::7, and addresses that
///                                                      should be out of reach: 10.9.9.9, 169.254.169.254, …
/// ```
final class TestInternet {
    /// The network through which the daemon's packets leave.
    let machinePath: String
    let resolver = "198.51.100.7"

    private let machine: String
    private let internet: String
    private var servers: [Process] = []

    /// Addresses with a listener on port 8080 that no app may reach.
    static let forbidden = [
        "10.9.9.9", "169.254.169.254", "169.254.7.7", "100.64.7.7", "172.16.7.7", "192.168.7.7", "198.18.7.7",
        "203.0.113.1", "10.1.2.3", "10.87.0.1", "127.0.0.1", "fd00::7", "fe80::7", "2400:cb00::1", "::1",
        "::ffff:10.9.9.9", "::ffff:169.254.169.254", "64:ff9b::a09:909", "2002:a09:909::7",
    ]

    static var isPossible: Bool {
        geteuid() == 0 && FileManager.default.isExecutableFile(atPath: "/usr/sbin/nft")
    }

    /// `forwards`: whether the machine forwards packets, so that no `pasta` is needed.
    init(forwards: Bool) throws {
        let id = UUID().uuidString.prefix(6).lowercased()
        (machine, internet) = ("mtm-\(id)", "mti-\(id)")
        machinePath = "/run/netns/" + machine
        try ip("netns add \(machine)", "netns add \(internet)")
        try ip("-n \(machine) link set lo up", "-n \(internet) link set lo up")
        try ip("link add out netns \(machine) type veth peer name in netns \(internet)")
        try ip("-n \(machine) addr add 203.0.113.1/24 dev out", "-n \(machine) addr add 10.1.2.3/24 dev out")
        try ip("-n \(machine) addr add 2400:cb00::1/64 dev out nodad", "-n \(machine) link set out up")
        try ip("-n \(internet) addr add 203.0.113.254/24 dev in", "-n \(internet) link set in up")
        try ip("-n \(internet) addr add 2400:cb00::fe/64 dev in nodad")
        for address in [
            "198.51.100.7/32", "198.51.100.8/32", "10.9.9.9/32", "169.254.169.254/32", "169.254.7.7/32",
            "100.64.7.7/32", "172.16.7.7/32", "192.168.7.7/32", "198.18.7.7/32",
        ] { try ip("-n \(internet) addr add \(address) dev lo") }
        for address in ["2400:cb01::7/128", "fd00::7/128", "64:ff9b::a09:909/128", "2002:a09:909::7/128"] {
            try ip("-n \(internet) addr add \(address) dev lo nodad")
        }
        try ip("-n \(machine) route add default via 203.0.113.254")
        try ip("-n \(machine) -6 route add default via 2400:cb00::fe")
        if forwards {
            try run("/usr/sbin/ip", ["netns", "exec", machine, "sysctl", "-qw", "net.ipv4.ip_forward=1"])
            try run(
                "/usr/sbin/ip",
                ["netns", "exec", machine, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"]
            )
        }
        try serve(in: internet)
        try serve(in: machine)
    }

    deinit {
        // Not SIGTERM, which a child of a test can have inherited blocked.
        for server in servers { kill(server.processIdentifier, SIGKILL) }
        for server in servers { server.waitUntilExit() }
        for name in [machine, internet] { _ = try? run("/usr/sbin/ip", ["netns", "del", name]) }
    }

    private func serve(in name: String) throws {
        let server = Process()
        server.executableURL = URL(fileURLWithPath: "/usr/sbin/ip")
        let script = HostFixture.root.appending(path: "Tests/DaemonTests/Internet/internet.py").path
        server.arguments = [
            "netns", "exec", name, "python3", script, name == internet ? resolver : "127.0.0.1",
        ]
        let (input, output) = (Pipe(), Pipe())
        server.standardInput = input
        server.standardOutput = output
        server.standardError = FileHandle.nullDevice
        try server.run()
        servers.append(server)
        try #require(output.fileHandleForReading.availableData.starts(with: Data("ready".utf8)))
    }

    private func ip(_ lines: String...) throws {
        for line in lines { try run("/usr/sbin/ip", line.split(separator: " ").map(String.init)) }
    }

    @discardableResult
    private func run(_ program: String, _ arguments: [String]) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        let output = Pipe()
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw HTTPClient.Failure(description: "\(program) \(arguments.joined(separator: " ")): \(text)")
        }
        return 0
    }
}

extension Apps {
    /// Runs what it is sent, as an app with an open eval would.
    static let evaluator = [
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        (globalThis as any).DatabaseSync = DatabaseSync;
        const AsyncFunction = (async () => {}).constructor as any;
        export default {
          async fetch(request: Request) {
            if (request.method === "GET") return new Response("evaluator");
            try {
              return Response.json({ value: await new AsyncFunction("data", await request.text())(Deno.env.get("MARTLET_DATA")) ?? null });
            } catch (error) {
              return Response.json({ error: String(error?.cause ?? error) + " " + String(error) });
            }
          },
        };
        """
    ]

    /// Calls `address` and gives what it says.
    static func connecting(to address: String, port: Int = 8080) -> String {
        """
        const opening = Deno.connect({ hostname: "\(address)", port: \(port) });
        const late = new Promise((_, fail) => setTimeout(() => fail(new Error("timed out")), 4000));
        const connection = await Promise.race([opening, late]);
        const buffer = new Uint8Array(100);
        const count = await connection.read(buffer);
        connection.close();
        return new TextDecoder().decode(buffer.subarray(0, count ?? 0)).trim();
        """
    }
}

extension HostFixture {
    /// What code in an evaluator app comes to.
    struct Outcome: Decodable, Sendable {
        var value: String?
        var error: String?
    }

    func evaluate(_ code: String, in app: String) async throws -> Outcome {
        let answer = try await send("POST", "/", to: app, body: code, timeout: 60)
        guard let outcome = try? JSONDecoder().decode(Outcome.self, from: Data(answer.body.utf8)) else {
            return Outcome(value: nil, error: "status \(answer.status): \(answer.body)")
        }
        return outcome
    }
}
