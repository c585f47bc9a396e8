import CSandbox
import Dispatch
import Foundation
import Logging
import Synchronization

/// The way from the gateway to the outside.
///
/// Nothing of the host's routing is changed: packets are forwarded by the kernel only where the host forwards packets
/// already. Elsewhere, and for an ordinary user, `pasta` (Debian's package passt) opens the connections as an ordinary
/// process does.
final class Uplink: Sendable {
    enum Kind: Sendable, Equatable {
        case kernel
        case pasta
        case none(reason: String)
    }

    let kind: Kind
    let hasIPv6: Bool
    /// Set once packets can leave, or with false when they can't.
    let isUp = Once<Bool>()

    private let configuration: HostConfiguration.Network
    private let inside: JobThread
    private let insideNetwork: Int32
    private let outside: OutsideNetwork
    private let scratch: String
    private let logger: Logger
    private let queue = DispatchQueue(label: "uplink")
    private let state = Mutex(State())
    /// The host's end of the pair, and the table for it.
    private let interface: String
    private let table: String
    private let link: LinkAddresses

    private struct State {
        var pasta: ChildProcess?
        var restarts = 0
        var isClosed = false
    }

    init(
        _ configuration: HostConfiguration.Network,
        name: String,
        inside: JobThread,
        insideNetwork: Int32,
        outside: OutsideNetwork,
        scratch: String,
        logger: Logger
    ) {
        self.configuration = configuration
        self.inside = inside
        self.insideNetwork = insideNetwork
        self.outside = outside
        self.scratch = scratch
        self.logger = logger
        let hash = name.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
        interface = "mt" + String(hash, radix: 36)
        table = "martlet_" + String(hash, radix: 36)
        link = LinkAddresses(hash: hash)
        let routes = (outside.defaultRoute(AF_INET) != nil, outside.defaultRoute(AF_INET6) != nil)
        kind = Self.choose(configuration, outside, hasRoute: routes.0 || routes.1)
        switch kind {
        case .kernel: hasIPv6 = routes.1 && outside.setting("net/ipv6/conf/all/forwarding") == "1"
        case .pasta: hasIPv6 = routes.1
        case .none: hasIPv6 = false
        }
    }

    var summary: String {
        switch kind {
        case .kernel: "forwarded by the kernel" + (hasIPv6 ? "" : ", IPv4 only")
        case .pasta: "through pasta" + (hasIPv6 ? "" : ", IPv4 only")
        case .none(let reason): "no way out: \(reason)"
        }
    }

    private static func choose(
        _ configuration: HostConfiguration.Network,
        _ outside: OutsideNetwork,
        hasRoute: Bool
    ) -> Kind {
        let hasPasta = FileManager.default.isExecutableFile(atPath: configuration.pasta)
        guard configuration.uplink != .none else { return .none(reason: "it was turned off") }
        guard hasRoute else { return .none(reason: "this machine has no default route") }
        if configuration.uplink == .kernel { return .kernel }
        if configuration.uplink == .pasta { return .pasta }
        if UserNamespace.isInitial && outside.setting("net/ipv4/ip_forward") == "1" { return .kernel }
        if hasPasta { return .pasta }
        return .none(
            reason: "the host does not forward packets (net.ipv4.ip_forward is 0) and pasta is missing "
                + "(Debian: apt-get install passt)"
        )
    }

    func start() {
        switch kind {
        case .kernel:
            do {
                try connect()
                isUp.set(true)
            } catch {
                logger.error(
                    "the apps' way to the internet could not be made",
                    metadata: ["error": "\(error)"]
                )
                isUp.set(false)
            }
        case .pasta: startPasta()
        case .none(let reason):
            logger.warning("apps cannot reach the internet", metadata: ["reason": "\(reason)"])
            isUp.set(false)
        }
    }

    func close() async {
        let pasta = state.withLock { state in
            state.isClosed = true
            return state.pasta
        }
        if let pasta { await pasta.terminate(grace: .seconds(1)) }
        guard kind == .kernel else { return }
        // The interface ends with the gateway's network too, but the table does not.
        let name = interface
        _ = try? outside.run { () throws(SystemError) in csandbox_delete_link(name) }
        try? NetworkTools.load(
            "table inet \(table)\ndelete table inet \(table)\n",
            in: outside.network,
            nft: configuration.nft,
            scratch: scratch
        )
    }

    // MARK: - By the kernel

    private func connect() throws {
        let (name, link, inside6) = (interface, link, hasIPv6)
        try outside.run { [insideNetwork] () throws(SystemError) in
            _ = csandbox_delete_link(name)  // Of a daemon that was killed a moment ago, if any.
            try SystemError.check(csandbox_make_pair(name, "up", insideNetwork, 1500), "make the uplink")
            try SystemError.check(
                csandbox_add_address(name, AF_INET, link.host4.bytes, 30),
                "address the uplink"
            )
            if inside6 {
                try SystemError.check(
                    csandbox_add_address(name, AF_INET6, link.host6.bytes, 126),
                    "address the uplink"
                )
            }
        }
        try NetworkTools.load(
            NetworkRuleset.host(
                table: table,
                uplink: name,
                source4: link.range4,
                source6: hasIPv6 ? link.range6 : nil
            ),
            in: outside.network,
            nft: configuration.nft,
            scratch: scratch
        )
        try inside.perform { () throws(SystemError) in
            try SystemError.check(csandbox_raise_link("up"), "raise the uplink")
            try SystemError.check(
                csandbox_add_address("up", AF_INET, link.gateway4.bytes, 30),
                "address the uplink"
            )
            try SystemError.check(
                csandbox_add_route("up", AF_INET, nil, 0, link.host4.bytes),
                "route to the outside"
            )
            guard inside6 else { return }
            try SystemError.check(
                csandbox_add_address("up", AF_INET6, link.gateway6.bytes, 126),
                "address the uplink"
            )
            try SystemError.check(
                csandbox_add_route("up", AF_INET6, nil, 0, link.host6.bytes),
                "route to the outside"
            )
        }
    }

    // MARK: - By pasta

    private func startPasta() {
        // Its own options end what it can do beside: no forwarded ports in either direction, no way to the host's loopback
        // by the gateway's address, no service on the link.
        var arguments = [
            "-f", "-e", "-q", "--config-net", "-t", "none", "-u", "none", "-T", "none", "-U", "none",
        ]
        arguments += ["--no-map-gw", "--no-dhcp", "--no-ra", "--no-dhcpv6", "-I", "up"]
        if !hasIPv6 { arguments.append("-4") }
        if getuid() == 0 && UserNamespace.isInitial { arguments += ["--runas", "0"] }
        var command = ChildProcess.Command(
            path: configuration.pasta,
            arguments: arguments + ["--netns", "/proc/self/fd/3"],
            environment: [:],
            directory: "/"
        )
        command.kept = [insideNetwork]
        command.network = outside.network
        let output = ToolOutput()
        do {
            let pasta = try ChildProcess.start(command, queue: queue) { output.take($1) }
            let isClosed = state.withLock { state in
                state.pasta = pasta
                return state.isClosed
            }
            if isClosed { return pasta.signal(SIGKILL) }
            // It runs as long as the gateway does, beside everything else.
            Task { await self.watch(pasta, output) }
        } catch {
            logger.error("pasta could not be started", metadata: ["error": "\(error)"])
            isUp.set(false)
        }
    }

    private func watch(_ pasta: ChildProcess, _ output: ToolOutput) async {
        let begin = uptime()
        while pasta.end.value == nil, uptime() - begin < .seconds(10) {
            if hasRouteInside {
                isUp.set(true)
                break
            }
            try? await Task.sleep(for: .milliseconds(5))  // Nothing cancels this task.
        }
        guard let end = await pasta.end.wait() else { return }
        if uptime() - begin > .seconds(60) { state.withLock { $0.restarts = 0 } }
        let (isClosed, restarts) = state.withLock { state in
            state.restarts += 1
            return (state.isClosed, state.restarts)
        }
        guard !isClosed else { return }
        logger.error(
            "pasta has ended, so apps cannot reach the internet; it is started again",
            metadata: ["end": "\(end)", "output": "\(output.text.suffix(500))"]
        )
        if restarts >= 3 { isUp.set(false) }
        try? await Task.sleep(for: .milliseconds(min(200 << min(restarts, 8), 30_000)))  // As above.
        if !state.withLock(\.isClosed) { startPasta() }
    }

    private var hasRouteInside: Bool {
        inside.run {
            var name = [CChar](repeating: 0, count: 16)
            return csandbox_default_route(AF_INET, &name) == 1 || csandbox_default_route(AF_INET6, &name) == 1
        }
    }
}

/// The addresses of the pair between the gateway and the host, different for the daemons of one machine.
private struct LinkAddresses: Sendable {
    let host4, gateway4, host6, gateway6: IPAddress
    let range4: IPRange
    let range6: IPRange

    /// Link-local addresses (RFC 3927), away from the one that clouds use for metadata.
    init(hash: UInt32) {
        let (third, fourth) = (UInt8(64 + hash % 64), UInt8(hash >> 8 & 0x3F) << 2)
        let base: [UInt8] = [169, 254, third]
        let parts = (0..<4).map { UInt8(truncatingIfNeeded: hash >> (24 - 8 * $0)) }
        let base6: [UInt8] = [0xFD, 0x87, 0x6D, 0x61, 0x72, 0x74, 0, 1] + parts + [0, 0, 0]
        host4 = IPAddress(known: base + [fourth | 1])
        gateway4 = IPAddress(known: base + [fourth | 2])
        host6 = IPAddress(known: base6 + [1])
        gateway6 = IPAddress(known: base6 + [2])
        range4 = IPRange(base: IPAddress(known: base + [fourth]), prefix: 30)
        range6 = IPRange(base: IPAddress(known: base6 + [0]), prefix: 126)
    }
}

/// The user namespace of this process.
public enum UserNamespace {
    /// Whether it is the machine's own: then root is the machine's root (user_namespaces(7)).
    public static let isInitial: Bool = {
        let words = ControlGroupDetection.text("/proc/self/uid_map").split(whereSeparator: \.isWhitespace)
        return words.isEmpty || words.map(String.init) == ["0", "0", "4294967295"]
    }()
}
