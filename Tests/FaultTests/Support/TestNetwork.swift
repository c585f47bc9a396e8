import Foundation
import Glibc
import StorageTestSupport
import Supervision

/// Machines that are network namespaces, all on one switch, with addresses that exist nowhere else.
///
/// ```
///   switch: a namespace with a bridge
///     ├── temporal 10.213.0.2      ├── control 10.213.0.4      ├── h1 10.213.0.6   …
///     └── store    10.213.0.3      └── client  10.213.0.5      └── h2 10.213.0.7
/// ```
/// Nothing of it is in the namespace of the test's own process; everything goes when the test ends.
final class TestNetwork: Sendable {
    struct Machine: Sendable {
        var name: String
        /// Nil: the test's own namespace, without a network of its own.
        var namespace: String?
        var address: String

        static func loopback(_ name: String) -> Machine {
            Machine(name: name, namespace: nil, address: "127.0.0.1")
        }

        /// Where the kernel keeps the namespace.
        var file: String? { namespace.map { "/run/netns/\($0)" } }

        /// A command that runs on this machine, with its own process id.
        func command(
            _ executable: String,
            _ arguments: [String],
            environment: [String: String],
            folder: String? = nil
        ) -> ChildProcess.Command {
            guard let file else {
                return ChildProcess.Command(
                    executable: executable,
                    arguments: arguments,
                    environment: environment,
                    folder: folder
                )
            }
            return ChildProcess.Command(
                executable: "/usr/bin/nsenter",
                arguments: ["--net=\(file)", "--", executable] + arguments,
                environment: environment,
                folder: folder
            )
        }
    }

    private let prefix: String
    let machines: [String: Machine]
    private var hub: String { "\(prefix)-switch" }

    /// Why namespaces can't be made here; nil where they can.
    static let obstacle: String? = {
        guard geteuid() == 0 else { return "only root can make network namespaces" }
        let name = "mt-probe-\(getpid())"
        do {
            try system("ip", "netns", "add", name)
            defer { try? system("ip", "netns", "del", name) }
            try system("ip", "-n", name, "link", "add", "br0", "type", "bridge")
            try system("nsenter", "--net=/run/netns/\(name)", "--", "nft", "add", "table", "inet", "probe")
            return nil
        } catch {
            return "network namespaces cannot be made here: \(error)"
        }
    }()

    /// Calls `body` with a network of these machines, which is taken down afterwards, whatever happens.
    static func with<Result>(
        _ names: [String],
        _ body: (TestNetwork) async throws -> Result
    ) async throws -> Result {
        let network = TestNetwork(names)
        do {
            try network.build()
            let result = try await body(network)
            network.remove()
            return result
        } catch {
            network.remove()
            throw error
        }
    }

    private init(_ names: [String]) {
        let prefix = "mt-\(UInt32.random(in: 0...UInt32.max))"
        self.prefix = prefix
        machines = Dictionary(
            uniqueKeysWithValues: names.enumerated().map { index, name in
                let machine = Machine(
                    name: name,
                    namespace: "\(prefix)-\(name)",
                    address: "10.213.0.\(index + 2)"
                )
                return (name, machine)
            }
        )
    }

    private func build() throws {
        try Self.system("ip", "netns", "add", hub)
        try Self.system("ip", "-n", hub, "link", "add", "br0", "type", "bridge")
        try Self.system("ip", "-n", hub, "link", "set", "br0", "up")
        for machine in machines.values {
            guard let namespace = machine.namespace else { continue }
            try Self.system("ip", "netns", "add", namespace)
            try Self.system(
                "ip",
                "link",
                "add",
                "to-\(machine.name)",
                "netns",
                hub,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                namespace
            )
            try Self.system("ip", "-n", hub, "link", "set", "to-\(machine.name)", "master", "br0", "up")
            try Self.system("ip", "-n", namespace, "link", "set", "lo", "up")
            try Self.system("ip", "-n", namespace, "addr", "add", "\(machine.address)/24", "dev", "eth0")
            try Self.system("ip", "-n", namespace, "link", "set", "eth0", "up")
            try nft(machine, "add table inet cuts")
            for hook in ["input", "output"] {
                try nft(
                    machine,
                    "add chain inet cuts \(hook) { type filter hook \(hook) priority 0; policy accept; }"
                )
            }
        }
    }

    /// Lets no packet pass between a machine and others any more, in either direction, without telling either.
    func cut(_ name: String, from others: [String]) throws {
        guard let machine = machines[name] else { return }
        for other in others.compactMap({ machines[$0] }) {
            try nft(machine, "add rule inet cuts output ip daddr \(other.address) drop")
            try nft(machine, "add rule inet cuts input ip saddr \(other.address) drop")
        }
    }

    /// Ends all cuts that were made at a machine.
    func heal(_ name: String) throws {
        guard let machine = machines[name] else { return }
        try nft(machine, "flush table inet cuts")
    }

    /// Takes a machine's cable out.
    func unplug(_ name: String) throws {
        try Self.system("ip", "-n", hub, "link", "set", "to-\(name)", "down")
    }

    func plug(_ name: String) throws {
        try Self.system("ip", "-n", hub, "link", "set", "to-\(name)", "up")
    }

    private func nft(_ machine: Machine, _ rule: String) throws {
        guard let file = machine.file else { return }
        try Self.system("nsenter", "--net=\(file)", "--", "nft", rule)
    }

    /// Cables go with their namespaces.
    private func remove() {
        for namespace in machines.values.compactMap(\.namespace) + [hub] {
            // What cannot be removed was not made.
            try? Self.system("ip", "netns", "del", namespace)
        }
    }

    private static func system(_ words: String...) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = words
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
        let pipe = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = pipe
        try process.run()
        let errors = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure("\(words.joined(separator: " ")): \(String(decoding: errors, as: UTF8.self))")
        }
    }
}

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
