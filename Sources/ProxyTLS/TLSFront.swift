import NIOCore
import NIOHTTP2
import NIOPosix
import NIOSSL
import NIOTLS
public import Proxy
import Synchronization

/// TLS and HTTP/2 in front of a ``ProxyServer``: the same routing, limits, log and counters behind it.
///
/// A client's bytes go to the proxy over a pair of connected sockets: as they are with HTTP/1.1, and one pair for each
/// stream with HTTP/2. The plain path does not pay for any of it.
public final class TLSFront: Sendable {
    /// How a front listens, and its limits.
    public struct Configuration: Sendable {
        /// Numeric addresses and ports; 0 for any free port.
        public var addresses: [ProxyAddress]
        /// The first is for clients that send no name, or one that none is for.
        ///
        /// The first of several for one name is chosen.
        public var certificates: [CertificateFiles]
        public var threads = 1
        /// Streams that one HTTP/2 client may have open at once.
        public var concurrentStreams = 100
        public var connections = 10_000
        /// From the beginning of a connection to the end of the handshake.
        public var handshakeTime = Duration.seconds(15)
        /// For how long a client may acknowledge nothing: see ``ProxyConfiguration/Timeouts/clientSilence``.
        public var silence = Duration.seconds(60)
        /// An HTTP/2 connection without a stream.
        public var idleTime = Duration.seconds(75)
        /// Clients are proxies of a group, and must have a certificate of its authority; they speak HTTP/1.1 alone.
        public var peers: Peers?

        public init(addresses: [ProxyAddress], certificates: [CertificateFiles]) {
            self.addresses = addresses
            self.certificates = certificates
        }
    }

    /// Who may connect where only peers may.
    public struct Peers: Sendable {
        public var group: PeerGroup
        /// The certificates of the authority that signs those of the peers, as a PEM file.
        public var authorityPath: String

        public init(group: PeerGroup, authorityPath: String) {
            self.group = group
            self.authorityPath = authorityPath
        }
    }

    private let configuration: Configuration
    private let proxy: ProxyServer
    private let store: CertificateStore
    private let group: MultiThreadedEventLoopGroup
    private let listeners = Mutex<[any Channel]>([])
    private let openConnections = Atomic<Int>(0)
    /// Connections with HTTP/2, which must be told when no more streams are wanted.
    private let multiplexed = Mutex<Multiplexed>(Multiplexed())

    private struct Multiplexed {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var isDraining = false
    }

    /// - Throws: ``CertificateError`` when a certificate cannot be used.
    public init(_ configuration: Configuration, proxy: ProxyServer) throws {
        self.configuration = configuration
        self.proxy = proxy
        store = try CertificateStore(
            configuration.certificates,
            clientAuthority: configuration.peers?.authorityPath
        )
        group = MultiThreadedEventLoopGroup(numberOfThreads: max(configuration.threads, 1))
    }

    /// Begins to serve.
    ///
    /// - Throws: what the system says of an address that cannot be listened on; then nothing listens.
    public func start() async throws {
        do {
            for address in configuration.addresses {
                let channel = try await ServerBootstrap(group: group)
                    .serverChannelOption(.backlog, value: 4096)
                    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
                    .probing(silence: configuration.silence)
                    .childChannelInitializer { [self] channel in begin(channel) }
                    .bind(host: address.address, port: Int(address.port)).get()
                listeners.withLock { $0.append(channel) }
            }
        } catch {
            await stop()
            throw error
        }
    }

    /// Where the front listens, with the ports that were chosen.
    public var addresses: [ProxyAddress] {
        listeners.withLock { $0 }.compactMap { channel in
            guard let address = channel.localAddress, let port = address.port else { return nil }
            return ProxyAddress(address: address.ipAddress ?? "", port: UInt16(port))
        }
    }

    /// Reads the certificates' files again; new connections get what is in them.
    ///
    /// - Throws: ``CertificateError``; then the earlier certificates stay.
    public func reload() throws { try store.reload() }

    /// Stops accepting; what is open goes on until the proxy behind it ends it.
    public func stopAccepting() async {
        let open = listeners.withLock { listeners in
            let open = listeners
            listeners = []
            return open
        }
        for listener in open { try? await listener.close().get() }  // Closed already is as good.
    }

    /// Stops accepting, tells HTTP/2 clients to open no more streams, and returns when every connection has ended or
    /// the time is over.
    ///
    /// Drain the proxy at the same time: it ends the connections with HTTP/1.1 after their requests.
    public func drain(deadline: Duration) async {
        await stopAccepting()
        let channels = multiplexed.withLock { multiplexed in
            multiplexed.isDraining = true
            return Array(multiplexed.channels.values)
        }
        for channel in channels {
            channel.pipeline.fireUserInboundEventTriggered(ConnectionHandler.DrainEvent())
        }
        let end = ContinuousClock.now + deadline
        while openConnections.load(ordering: .relaxed) > 0, ContinuousClock.now < end {
            // Cancelled: what is left is ended by `stop`.
            do { try await Task.sleep(for: .milliseconds(10)) } catch { return }
        }
    }

    /// Ends everything.
    public func stop() async {
        await stopAccepting()
        try? await group.shutdownGracefully()  // Fails only when it has been done before.
    }

    private func begin(_ channel: any Channel) -> EventLoopFuture<Void> {
        guard openConnections.add(1, ordering: .relaxed).newValue <= configuration.connections else {
            openConnections.subtract(1, ordering: .relaxed)
            return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        channel.closeFuture.whenComplete { [self] _ in openConnections.subtract(1, ordering: .relaxed) }
        let limit = channel.eventLoop.scheduleTask(in: TimeAmount(configuration.handshakeTime)) {
            channel.close(promise: nil)
        }
        LinkMonitor.watch(channel, silence: configuration.silence) { channel.close(promise: nil) }
        return channel.eventLoop.makeCompletedFuture {
            let names = ByteToMessageHandler(
                SNIHandler { [self] result in
                    channel.eventLoop.makeCompletedFuture { try addTLS(channel, result, limit) }
                }
            )
            try channel.pipeline.syncOperations.addHandler(names)
        }
    }

    private func addTLS(_ channel: any Channel, _ result: SNIResult, _ limit: Scheduled<Void>) throws {
        let name: String? = if case .hostname(let name) = result { name } else { nil }
        let client = Client(
            address: channel.remoteAddress?.ipAddress ?? "unknown",
            port: UInt16(channel.remoteAddress?.port ?? 0)
        )
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(NIOSSLServerHandler(context: store.context(for: name)))
        try pipeline.addHandler(
            ApplicationProtocolNegotiationHandler { [self] result, channel in
                limit.cancel()
                if configuration.peers == nil, case .negotiated("h2") = result {
                    return addHTTP2(channel, client)
                }
                return addPipe(channel, client)
            }
        )
    }

    /// HTTP/1.1: the bytes go to the proxy as they are.
    private func addPipe(_ channel: any Channel, _ client: Client) -> EventLoopFuture<Void> {
        Backend.connect(proxy, client, on: channel.eventLoop, peers: configuration.peers?.group) { backend in
            let (front, back) = PipeHandler.pair()
            try channel.pipeline.syncOperations.addHandler(front)
            try backend.pipeline.syncOperations.addHandler(back)
        }
    }

    private func addHTTP2(_ channel: any Channel, _ client: Client) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture { try self.configureHTTP2(channel, client) }
    }

    private func configureHTTP2(_ channel: any Channel, _ client: Client) throws {
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: configuration.concurrentStreams),
            HTTP2Setting(parameter: .enableConnectProtocol, value: 1),
            HTTP2Setting(parameter: .maxHeaderListSize, value: 32 * 1024),
            HTTP2Setting(parameter: .initialWindowSize, value: 256 * 1024),
        ]
        let pipeline = channel.pipeline.syncOperations
        let proxy = proxy
        let whole = ConnectionHandler()
        let boundWhole = NIOLoopBound(whole, eventLoop: channel.eventLoop)
        try pipeline.addHandler(IdleStateHandler(allTimeout: TimeAmount(configuration.idleTime)))
        try pipeline.addHandler(
            NIOHTTP2Handler(
                mode: .server,
                eventLoop: channel.eventLoop,
                connectionConfiguration: connection,
                streamConfiguration: NIOHTTP2Handler.StreamConfiguration()
            ) { stream in
                stream.eventLoop.makeCompletedFuture {
                    let whole = boundWhole.value
                    whole.streamOpened()
                    stream.closeFuture.whenComplete { _ in boundWhole.value.streamClosed() }
                    try stream.pipeline.syncOperations.addHandler(
                        StreamHandler(proxy: proxy, client: client, isRefused: whole.isDraining)
                    )
                }
            }
        )
        try pipeline.addHandler(whole)
        remember(channel)
    }

    private func remember(_ channel: any Channel) {
        let key = ObjectIdentifier(channel)
        let isDraining = multiplexed.withLock { multiplexed in
            multiplexed.channels[key] = channel
            return multiplexed.isDraining
        }
        channel.closeFuture.whenComplete { [self] _ in
            multiplexed.withLock { $0.channels[key] = nil }
        }
        if isDraining { channel.pipeline.fireUserInboundEventTriggered(ConnectionHandler.DrainEvent()) }
    }
}

/// The client of a connection, as the proxy is told.
struct Client: Sendable {
    let address: String
    let port: UInt16
}
