import ClusterContract
import Control
import Foundation
import Logging
import Proxy
import Synchronization

/// A host's part in its cluster that its ingress needs: the routes, the other hosts, and its own right to serve.
final class ClusterMembership: Sendable {
    let configuration: ClusterConfiguration
    let host: HostID
    let group: PeerGroup
    let directory: PeerDirectory
    let right: LeaseRight
    let permission: ServingPermission
    /// How hosts speak to each other with TLS; nil where they do not.
    let security: PeerSecurity?
    /// Generations of which this host has heard and that it does not have.
    let heard: AsyncStream<Heard>
    private let heardSource: AsyncStream<Heard>.Continuation
    /// Hosts that the routes have ceased to name at their address.
    let departed: AsyncStream<Peer>
    private let departedSource: AsyncStream<Peer>.Continuation
    private let nowhere: App
    private let state = Mutex(State())

    /// Newer routes, and at which host they are, where that is known.
    struct Heard: Sendable {
        var generation: Int
        var peer: HostID?
    }

    private struct State {
        var table: Control.RouteTable?
        var routes: ClusterRoutes?
        var published: ReadyAnswer?
    }

    /// - Throws: ``MartletError`` with code `bad_request` when the secret is none, or a certificate cannot be used.
    init(_ configuration: ClusterConfiguration, host: HostID, logger: Logger) throws {
        self.configuration = configuration
        self.host = host
        let right = LeaseRight()
        self.right = right
        permission = ServingPermission { right.isValid }
        let (heard, source) = AsyncStream.makeStream(of: Heard.self, bufferingPolicy: .bufferingNewest(16))
        (self.heard, heardSource) = (heard, source)
        (departed, departedSource) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1024))
        security = try configuration.tls.map { try PeerSecurity($0, logger: logger) }
        do {
            group = try PeerGroup(
                secret: configuration.secret.peerSecret,
                alsoAccepted: configuration.acceptedSecrets.map(\.peerSecret),
                connector: security?.connector
            ) { generation, upstream in
                let name = upstream.app.name
                let host = name.hasPrefix("host:") ? HostID(String(name.dropFirst("host:".count))) : nil
                source.yield(Heard(generation: generation, peer: host))
            }
        } catch let error as ProxyError {
            throw MartletError(.badRequest, error.message, cause: error)
        }
        directory = PeerDirectory(group: group, limits: configuration.peers)
        var held = AppLimits()
        held.heldRequests = configuration.peers.heldRequests
        held.holdTime = configuration.peers.holdTime
        nowhere = App(name: "host:unknown", limits: held)
    }

    /// Where other hosts connect to the ingress itself; nil where they do with TLS.
    var listener: ProxyConfiguration.Listener? {
        guard security == nil else { return nil }
        var listener = ProxyConfiguration.Listener(
            address: configuration.listener.address,
            port: configuration.listener.port
        )
        listener.peers = group
        return listener
    }

    /// The generation of the routes in use; 0 before the first.
    var generation: Int { state.withLock { $0.routes?.generation ?? 0 } }

    var routes: ClusterRoutes? { state.withLock { $0.routes } }
    var table: Control.RouteTable? { state.withLock { $0.table } }

    /// The picture for the router.
    var view: ClusterView {
        let (routes, published) = state.withLock { ($0.routes, $0.published) }
        return ClusterView(
            routes: routes,
            published: published,
            nowhere: nowhere,
            permission: permission,
            onStale: { [heardSource] in heardSource.yield(Heard(generation: $0, peer: nil)) }
        )
    }

    /// Takes a table into use unless it is older than the one in use.
    ///
    /// - Returns: whether it is newer; the router is to be published then.
    func take(_ table: Control.RouteTable) throws -> Bool {
        let routes = ClusterRoutes(table, host: host, directory: directory)
        let answer = ReadyAnswer(
            status: 200,
            headers: [(name: "Content-Type", value: "application/json")],
            body: Array(try JSONFormat.encoder().encode(table))
        )
        let before: ClusterRoutes?? = state.withLock { state in
            guard routes.generation > state.routes?.generation ?? 0 else { return nil }
            defer { state = State(table: table, routes: routes, published: answer) }
            return .some(state.routes)
        }
        guard let before else { return false }
        let peers = routes.peers
        for peer in before?.peers ?? [] where !peers.contains(where: { $0 === peer }) {
            departedSource.yield(peer)
        }
        return true
    }

    /// Whether the routes in use name the host at its address.
    func names(_ peer: Peer) -> Bool { routes?.peers.contains { $0 === peer } ?? false }

    /// Tells that there may be newer routes at a host.
    func hear(_ generation: Int, from peer: HostID?) {
        heardSource.yield(Heard(generation: generation, peer: peer))
    }

    /// Under which requests wait that no host takes now.
    var waiting: [App] { [nowhere] + directory.all.map(\.waiting) }

    func close() {
        heardSource.finish()
        departedSource.finish()
    }
}
