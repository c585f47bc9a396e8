public import Control
import Proxy

/// Where the host is reached: its ingress, its routes, and the addresses of its apps.
extension HostDaemon {
    /// Listens and serves.
    ///
    /// `api`: where requests go whose host name is no app's.
    /// Throws ``MartletError`` when an address cannot be listened on, or a certificate not be used.
    public func start(api: APIAddress?) async throws {
        guard proxy == nil else { return }
        raiseFileLimit()
        shortenTurns()
        try await openStore()
        if let api { apiDecision = .forward(Upstream(app: App(name: "api"), address: api.upstream)) }
        var listeners = configuration.listeners.map {
            ProxyConfiguration.Listener(address: $0.address, port: $0.port)
        }
        if let membership { try await takePeerOrders(membership) }
        if let listener = membership?.listener { listeners.append(listener) }
        let router = makeRouter()
        var proxyConfiguration = ProxyConfiguration(listeners: listeners)
        proxyConfiguration.timeouts.answer = .seconds(3600)
        let proxy: ProxyServer
        do {
            proxy = try ProxyServer(
                proxyConfiguration,
                router: router,
                observer: TrafficObserver(table: table)
            )
            try proxy.start()
            self.proxy = proxy
        } catch let error as ProxyError {
            throw MartletError(.conflict, error.message, cause: error)
        }
        for (id, entry) in entries { table[id.rawValue] = entry.cell }
        if membership != nil { loadRoutes() }
        do {
            if let settings = configuration.tls { try await startTLS(settings, proxy) }
            if let membership, let security = membership.security {
                try await security.start(
                    membership.configuration.listener,
                    group: membership.group,
                    proxy: proxy
                )
            }
        } catch {
            await tls?.stop()
            await membership?.security?.stop()
            proxy.stop()
            await proxy.stopped()
            self.proxy = nil
            throw error
        }
    }

    private func takePeerOrders(_ membership: ClusterMembership) async throws {
        let path = folder.run + "/orders.sock"
        do {
            peerOrders = try await PeerOrders.listen(at: path) { try await membership.take($0) }
        } catch {
            throw MartletError(.internal, "listen at \(path) for orders of other hosts", cause: error)
        }
        membership.takeOrders(at: path)
    }

    private func startTLS(_ settings: HostConfiguration.TLS, _ proxy: ProxyServer) async throws {
        let tls = try TLSIngress(settings, proxy: proxy, logger: logger)
        try await tls.start(settings.listeners)
        self.tls = tls
    }

    /// The picture of the routes as it is now.
    func makeRouter() -> ApplicationRouter {
        ApplicationRouter(
            table: table,
            cluster: membership?.view,
            standard: configuration.standardApp?.rawValue,
            domain: configuration.domain,
            api: apiDecision,
            wake: { [wakeSource] in wakeSource.yield($0) }
        )
    }

    /// The port of the first listener, once it is known.
    public var port: UInt16? { proxy?.addresses.first?.port }

    /// The port of the first listener with TLS, once it is known.
    public var tlsPort: UInt16? { tls?.port }

    /// The port that other hosts connect to, once it is known.
    public var peerPort: UInt16? {
        guard let membership else { return nil }
        if let security = membership.security { return security.port }
        return proxy?.addresses.last?.port
    }

    /// Where an app answers: with TLS where the host has it.
    public func url(of app: ApplicationID) -> String {
        if let settings = configuration.tls {
            let port = tlsPort ?? settings.listeners.first?.port ?? 443
            return "https://\(app).\(configuration.domain)" + (port == 443 ? "" : ":\(port)") + "/"
        }
        let port = port ?? configuration.listeners.first?.port ?? 80
        return "http://\(app).\(configuration.domain)" + (port == 80 ? "" : ":\(port)") + "/"
    }
}

/// Where the API listens.
public enum APIAddress: Sendable, Equatable {
    case unix(path: String)
    case tcp(host: String, port: UInt16)

    var upstream: UpstreamAddress {
        switch self {
        case .unix(let path): .unix(path: path)
        case .tcp(let host, let port): .tcp(host: host, port: port)
        }
    }
}
