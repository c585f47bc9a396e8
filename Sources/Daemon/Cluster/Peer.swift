import Control
import Proxy
import Synchronization

/// Another host, as this one's ingress sees it.
final class Peer: Sendable {
    let host: HostID
    /// Where its listener for peers is; nil for a host that is lost, or whose address is not known.
    let address: HostAddress?
    /// How requests reach it.
    let upstream: Upstream?
    /// Under which requests wait while the host does not take them.
    let waiting: App

    /// `before`: the same host at another address, whose waiting requests are this one's too.
    init(
        host: HostID,
        address: HostAddress?,
        group: PeerGroup,
        limits: PeerLimits,
        before: Peer? = nil
    ) {
        self.host = host
        self.address = address
        var held = AppLimits()
        held.heldRequests = limits.heldRequests
        held.holdTime = limits.holdTime
        held.runningRequests = limits.runningRequests
        held.openTunnels = limits.openTunnels
        waiting = before?.waiting ?? App(name: "host:\(host)", limits: held)
        guard let address else {
            upstream = nil
            return
        }
        var options = Upstream.Options()
        options.peers = group
        // The owner has the app's own limit, and answers at its end.
        options.answerTimeout = .seconds(3600)
        upstream = Upstream(
            app: waiting,
            address: .tcp(host: address.address, port: address.port),
            options: options
        )
    }
}

/// What requests to one other host may use of this one.
public struct PeerLimits: Sendable {
    /// Requests that wait for a host that does not take them, and for how long: a failover is done by then, or the
    /// client is told.
    public var heldRequests = 4096
    public var holdTime = Duration.seconds(20)
    /// Requests to another host at the same time.
    public var runningRequests = 8192
    public var openTunnels = 16_384

    public init() {}
}

/// The other hosts by name: one ``Peer`` for each as long as its address is the same, so that connections are kept when
/// the routes change.
final class PeerDirectory: Sendable {
    let group: PeerGroup
    private let limits: PeerLimits
    private let peers = Mutex<[HostID: Peer]>([:])

    init(group: PeerGroup, limits: PeerLimits) {
        self.group = group
        self.limits = limits
    }

    /// The peer with this name at this address.
    ///
    /// A host without an address has the one that it had before, if any.
    func peer(_ host: HostID, at address: HostAddress?) -> Peer {
        peers.withLock { peers in
            if let known = peers[host], address == nil || known.address == address { return known }
            let peer = Peer(
                host: host,
                address: address,
                group: group,
                limits: limits,
                before: peers[host]
            )
            peers[host] = peer
            return peer
        }
    }

    func peer(_ host: HostID) -> Peer? { peers.withLock { $0[host] } }

    /// All that were ever named and not forgotten.
    var all: [Peer] { peers.withLock { Array($0.values) } }

    /// Forgets hosts that no table names any more.
    func keep(_ hosts: Set<HostID>) {
        peers.withLock { peers in peers = peers.filter { hosts.contains($0.key) } }
    }
}
