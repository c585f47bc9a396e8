import CSandbox
import Dispatch
import Foundation
package import Logging
import Synchronization

//   worker's network          gateway                          outside: the host's network
//  ┌─────────────────┐   ┌────────────────────┐   ┌──────────────────────────────────────┐
//  │ eth0 10.87.x.y ─┼───┼─ w<n>   rules   up ┼───┼─ pair of interfaces and masquerading │
//  └─────────────────┘   │        names :53 ──┼┐  │  or `pasta`, an ordinary process     │
//                        └────────────────────┘└──┼─ sockets of this process to resolvers│
//                                                 └──────────────────────────────────────┘
//
// A network of its own for each worker, and one for the host through which all their packets go. The rules are in that
// one: no worker can change them, and they are the same whichever way leads out of it.

/// The network of a host's workers: keeps the rules, answers for names, and leads to the public internet.
package final class NetworkGateway: Sendable {
    /// The gateway as workers know it: their next hop, and where they ask for names.
    package static let address = IPAddress(known: [10, 87, 0, 1])
    /// The table of ``NetworkRuleset/gateway(_:_:resolver:)``.
    static let table = "martlet"

    package let configuration: HostConfiguration.Network
    private let logger: Logger
    /// Lives in the gateway's network.
    private let inside: JobThread
    private let insideNetwork: Int32
    private let outside: OutsideNetwork
    private let uplink: Uplink
    private let names: NameServer
    private let state = Mutex(State())

    private struct State {
        var nextIndex = 2
        var used: Set<Int> = []
        /// The host's own addresses, as the rules know them.
        var own: Set<IPAddress> = []
        /// The other hosts of the cluster.
        var peers: Set<IPAddress> = []
        var isClosed = false
    }

    /// Makes the gateway with its rules; the way out of it comes up by itself a little later.
    ///
    /// `name`: tells this daemon's uplink from others' of this machine.
    /// `scratch`: a folder for files that `nft` reads.
    /// Throws ``SystemError`` that says what this machine or this user lacks.
    package init(
        _ configuration: HostConfiguration.Network,
        name: String,
        scratch: String,
        logger: Logger
    ) throws {
        self.configuration = configuration
        self.logger = logger
        outside = try OutsideNetwork(path: configuration.outside)
        let inside = JobThread(name: "gateway")
        self.inside = inside
        insideNetwork = try inside.perform { () throws(SystemError) in
            try SystemError.check(csandbox_leave_network(), "make a network of our own")
            try SystemError.check(csandbox_raise_link("lo"), "raise the gateway's loopback")
            return try SystemError.check(csandbox_current_network(), "open the gateway's network")
        }
        let rules = AddressRules(extra: configuration.denied)
        let ruleset = NetworkRuleset.gateway(rules, configuration.limits, resolver: Self.address)
        try NetworkTools.load(ruleset, in: insideNetwork, nft: configuration.nft, scratch: scratch)
        try inside.perform { () throws(SystemError) in
            try SystemError.check(
                csandbox_add_address("lo", AF_INET, Self.address.bytes, 32),
                "give the gateway its address"
            )
            // Files below /proc/sys/net are those of the thread's own network.
            try NetworkTools.set("net/ipv4/ip_forward", "1")
            try NetworkTools.set("net/ipv4/conf/all/rp_filter", "1")
            try NetworkTools.set("net/ipv6/conf/all/forwarding", "1")
            // A refused connection is told so at once, however many there are.
            try NetworkTools.set("net/ipv4/icmp_ratelimit", "0")
            try NetworkTools.set("net/ipv6/icmp/ratelimit", "0")
        }
        names = try NameServer(
            inside: inside,
            outside: outside,
            resolvers: configuration.resolvers,
            rules: rules,
            logger: logger
        )
        uplink = Uplink(
            configuration,
            name: name,
            inside: inside,
            insideNetwork: insideNetwork,
            outside: outside,
            scratch: scratch,
            logger: logger
        )
        uplink.start()
        refreshOwnAddresses()
    }

    deinit { csandbox_close(insideNetwork) }

    /// For people: how the workers reach the internet.
    package var summary: String { uplink.summary }

    /// Waits until there is a way out, or none is to be expected.
    package func waitForUplink(atMost time: Duration) async { _ = await uplink.isUp.wait(atMost: time) }

    func isUp(atMost time: Duration) async -> Bool { await uplink.isUp.wait(atMost: time) ?? false }

    /// Makes the network of a worker; it may reach what is public until ``apply(_:to:onRefusal:)`` says otherwise.
    ///
    /// About 2 ms. Throws ``SystemError``.
    func makeNetwork() throws(SystemError) -> WorkerNetwork {
        let index = try takeIndex()
        let network = WorkerNetwork(index: index, gateway: self)
        let limits = configuration.limits
        let hasIPv6 = uplink.hasIPv6
        do throws(SystemError) {
            network.namespace = try inside.perform { [insideNetwork] () throws(SystemError) in
                let made = try SystemError.check(csandbox_make_network(), "make a worker's network")
                do throws(SystemError) {
                    try Self.connect(network, made, insideNetwork, limits, hasIPv6: hasIPv6)
                } catch {
                    csandbox_close(made)
                    throw error
                }
                return made
            }
        } catch {
            network.close()
            throw error
        }
        return network
    }

    private static func connect(
        _ network: WorkerNetwork,
        _ made: Int32,
        _ insideNetwork: Int32,
        _ limits: NetworkLimits,
        hasIPv6: Bool
    ) throws(SystemError) {
        let name = network.interface
        try SystemError.check(csandbox_make_pair(name, "eth0", made, 1500), "connect a worker's network")
        try SystemError.check(
            csandbox_add_route(name, AF_INET, network.address4.bytes, 32, nil),
            "route to a worker"
        )
        let rate = UInt64(limits.bytesPerSecond)
        let burst = UInt32(clamping: max(limits.bytesPerSecond / 50, 64 << 10))
        try SystemError.check(csandbox_shape(name, rate, burst), "limit a worker's downloads")
        if hasIPv6 {
            try SystemError.check(
                csandbox_add_address(name, AF_INET6, WorkerNetwork.gateway6.bytes, 64),
                "give the gateway its IPv6 address"
            )
            try SystemError.check(
                csandbox_add_route(name, AF_INET6, network.address6.bytes, 128, nil),
                "route to a worker"
            )
        }
        try SystemError.check(csandbox_enter_network(made), "enter a worker's network")
        defer {
            // This thread was in it before, so nothing but a defect can keep it out.
            let result = csandbox_enter_network(insideNetwork)
            precondition(result == 0, "the gateway's thread cannot return to its network: error \(-result)")
        }
        try SystemError.check(csandbox_raise_link("eth0"), "raise a worker's interface")
        try SystemError.check(
            csandbox_add_address("eth0", AF_INET, network.address4.bytes, 32),
            "give a worker its address"
        )
        try SystemError.check(
            csandbox_add_route("eth0", AF_INET, nil, 0, Self.address.bytes),
            "route from a worker"
        )
        if hasIPv6 {
            try SystemError.check(
                csandbox_add_address("eth0", AF_INET6, network.address6.bytes, 128),
                "give a worker its IPv6 address"
            )
            try SystemError.check(
                csandbox_add_route("eth0", AF_INET6, nil, 0, WorkerNetwork.gateway6.bytes),
                "route from a worker"
            )
        }
        try SystemError.check(csandbox_shape("eth0", rate, burst), "limit a worker's uploads")
    }

    /// Says what the app of a worker may reach.
    ///
    /// `onRefusal` is told, for the app's log, which names were refused and why.
    func apply(
        _ policy: NamePolicy,
        to network: WorkerNetwork,
        onRefusal: @escaping @Sendable (String) -> Void
    ) throws(SystemError) {
        names.set(policy, of: network.address4, onRefusal: onRefusal) {
            [weak self, weak network] address, seconds in
            guard let self, let network else { return }
            self.allow(address, for: network, seconds: seconds)
        }
        guard policy != .open else { return }
        try change("limited4", network.address4.bytes)
        try change("limited6", network.address6.bytes)
        network.isLimited.withLock { $0 = true }
    }

    /// Refuses the addresses of the cluster's other hosts, from now on instead of those before.
    ///
    /// `addresses`: numeric ones; private ones are out of reach anyway.
    package func denyPeers(_ addresses: [String]) {
        let peers = Set(addresses.compactMap { IPAddress($0) }.filter { AddressRules().allows($0) })
        let isNew = state.withLock { state in
            defer { state.peers = peers }
            return state.peers != peers
        }
        if isNew { refreshOwnAddresses() }
    }

    /// Notes the host's addresses, which no worker may reach whichever way leads to them; call it now and then.
    package func refreshOwnAddresses() {
        // Those that cannot be listed now stay refused.
        guard let here = outside.addresses() else { return }
        let (known, now) = state.withLock { ($0.own, here.union($0.peers)) }
        var own = known
        guard now != own else { return }
        let (new, gone) = (now.subtracting(own), own.subtracting(now))
        // What fails is tried again at the next look.
        for address in new where (try? change(Self.ownSet(address), address.bytes)) != nil {
            own.insert(address)
        }
        for address in gone
        where (try? change(Self.ownSet(address), address.bytes, isRemoved: true)) != nil {
            own.remove(address)
        }
        state.withLock { $0.own = own }
        names.setOwn(now)
    }

    private static func ownSet(_ address: IPAddress) -> String { address.isIPv4 ? "own4" : "own6" }

    /// Takes the way out down; workers' networks go with their workers.
    package func close() async {
        guard
            state.withLock({ state in
                defer { state.isClosed = true }
                return !state.isClosed
            })
        else { return }
        names.close()
        await uplink.close()
        inside.end()
        outside.end()
    }

    func release(_ network: WorkerNetwork) {
        names.forget(network.address4)
        // Its addresses are given out again much later; what is left of them then must be nothing.
        if network.isLimited.withLock({ $0 }) {
            try? change("limited4", network.address4.bytes, isRemoved: true)
            try? change("limited6", network.address6.bytes, isRemoved: true)
        }
        state.withLock { _ = $0.used.remove(network.index) }
    }

    private func allow(_ address: IPAddress, for network: WorkerNetwork, seconds: Int) {
        let own = address.isIPv4 ? network.address4 : network.address6
        let (set, key) = (address.isIPv4 ? "allowed4" : "allowed6", own.bytes + address.bytes)
        // Anew, because an element's time is not changed by adding it again on older kernels. Connections that are open
        // are not looked up.
        try? change(set, key, isRemoved: true)
        do { try change(set, key, milliseconds: UInt64(seconds) * 1000) } catch {
            logger.warning("an address could not be allowed", metadata: ["error": "\(error)"])
        }
    }

    private func change(
        _ set: String,
        _ key: [UInt8],
        milliseconds: UInt64 = 0,
        isRemoved: Bool = false
    ) throws(SystemError) {
        guard !state.withLock({ $0.isClosed }) else { return }
        try inside.perform { () throws(SystemError) in
            let result = csandbox_set_element(
                Self.table,
                set,
                key,
                UInt32(key.count),
                milliseconds,
                isRemoved ? 1 : 0
            )
            try SystemError.check(result, "change the set \(set) of the network's rules")
        }
    }

    private func takeIndex() throws(SystemError) -> Int {
        let index = state.withLock { state -> Int? in
            guard !state.isClosed, state.used.count < WorkerNetwork.maximumIndex / 2 else { return nil }
            while !state.used.insert(state.nextIndex).inserted {
                state.nextIndex = WorkerNetwork.after(state.nextIndex)
            }
            defer { state.nextIndex = WorkerNetwork.after(state.nextIndex) }
            return state.nextIndex
        }
        guard let index else { throw SystemError(EADDRNOTAVAIL, "find an address for a worker") }
        return index
    }
}

/// The network of one worker.
package final class WorkerNetwork: Sendable {
    let index: Int
    let address4: IPAddress
    let address6: IPAddress
    /// Its interface in the gateway.
    let interface: String
    let isLimited = Mutex(false)
    private let gateway: NetworkGateway
    private let descriptor = Mutex<Int32>(-1)

    static let maximumIndex = 0xFFFE
    static let gateway6 = IPAddress(known: [0xFE, 0x80] + [UInt8](repeating: 0, count: 13) + [1])
    /// A unique local prefix (RFC 4193) that is seen nowhere but between a worker and the gateway.
    private static let prefix6: [UInt8] = [0xFD, 0x87, 0x6D, 0x61, 0x72, 0x74, 0, 0, 0, 0, 0, 0, 0, 0]

    init(index: Int, gateway: NetworkGateway) {
        self.index = index
        self.gateway = gateway
        let (high, low) = (UInt8(index >> 8), UInt8(index & 0xFF))
        address4 = IPAddress(known: [10, 87, high, low])
        address6 = IPAddress(known: Self.prefix6 + [high, low])
        interface = "w\(index)"
    }

    deinit { close() }

    static func after(_ index: Int) -> Int { index >= maximumIndex ? 2 : index + 1 }

    /// For the worker's program to enter.
    var namespace: Int32 {
        get { descriptor.withLock { $0 } }
        set { descriptor.withLock { $0 = newValue } }
    }

    /// Lets go of it: it ends with the last process in it.
    func close() {
        let (old, isFirst) = descriptor.withLock { descriptor in
            defer { descriptor = -2 }
            return (descriptor, descriptor != -2)
        }
        guard isFirst else { return }
        if old >= 0 { csandbox_close(old) }
        gateway.release(self)
    }
}
