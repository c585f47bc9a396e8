import Glibc
import NIOCore
import NIOPosix
public import NIOSSL
import NIOTLS
public import Proxy
import Synchronization

/// Connections between the proxies of a group with TLS, in which each side shows a certificate of the group's authority.
///
/// It is the group's ``PeerConnector``: the reactor speaks to one end of a pair of connected sockets, and an event loop of
/// this object's passes the bytes on with TLS. A ``TLSFront`` with ``TLSFront/Configuration/peers`` is the other side.
/// Peers are known by address, which may change, so what counts is who signed a certificate and not its name: the authority
/// should sign for the group alone.
public final class PeerTLS: PeerConnector {
    /// What a proxy shows to its peers, and whom it believes.
    public struct Configuration: Sendable {
        public var certificate: CertificateFiles
        /// The certificates of the authority, as a PEM file.
        public var authorityPath: String
        public var threads = 1
        /// From the beginning of a connection to the end of the handshake.
        public var connectTime = Duration.seconds(5)
        /// For how long a peer may acknowledge nothing: see ``ProxyConfiguration/Timeouts/upstreamSilence``.
        public var silence = Duration.seconds(10)

        public init(certificate: CertificateFiles, authorityPath: String) {
            self.certificate = certificate
            self.authorityPath = authorityPath
        }
    }

    private let configuration: Configuration
    private let group: MultiThreadedEventLoopGroup
    private let client: Mutex<Client>
    /// Told of each connection that could not be made, or was lost, with the reason.
    private let onFailure: @Sendable (_ address: UpstreamAddress, _ reason: String) -> Void

    private struct Client {
        var configuration: TLSConfiguration
        var context: NIOSSLContext
    }

    /// - Throws: ``CertificateError`` when a file cannot be used.
    public init(
        _ configuration: Configuration,
        onFailure: @escaping @Sendable (_ address: UpstreamAddress, _ reason: String) -> Void = { _, _ in }
    ) throws {
        self.configuration = configuration
        self.onFailure = onFailure
        client = Mutex(try Self.load(configuration))
        group = MultiThreadedEventLoopGroup(numberOfThreads: max(configuration.threads, 1))
    }

    /// Reads the files again; new connections use what is in them.
    ///
    /// - Throws: ``CertificateError``; then the earlier certificates stay.
    public func reload() throws {
        let loaded = try Self.load(configuration)
        client.withLock { $0 = loaded }
    }

    /// For other clients of peers.
    public var clientConfiguration: TLSConfiguration { client.withLock { $0.configuration } }

    /// Ends every connection.
    public func stop() async {
        try? await group.shutdownGracefully()  // Fails only when it has been done before.
    }

    public func connect(_ descriptor: Int32, to address: UpstreamAddress) {
        guard case .tcp(let host, let port) = address else {
            return refuse(descriptor, address, "peers have addresses of TCP")
        }
        let context = client.withLock { $0.context }
        let eventLoop = group.next()
        let handshake = eventLoop.makePromise(of: Void.self)
        let limit = eventLoop.scheduleTask(in: TimeAmount(configuration.connectTime)) {
            handshake.fail(CertificateError(description: "the TLS handshake was not done in time"))
        }
        let connection = ClientBootstrap(group: eventLoop)
            .connectTimeout(TimeAmount(configuration.connectTime))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .probing(silence: configuration.silence)
            // Nothing is read past the handshake before there is somebody to pass it on to.
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
                    try pipeline.addHandler(HandshakeHandler(handshake))
                }
            }
            .connect(host: host, port: Int(port))
        connection.whenFailure { handshake.fail($0) }
        connection.and(handshake.futureResult).whenComplete { [self] result in
            limit.cancel()
            switch result {
            case .success((let channel, _)): join(descriptor, channel, address)
            case .failure(let error):
                connection.whenSuccess { $0.close(promise: nil) }
                refuse(descriptor, address, "\(error)")
            }
        }
    }

    /// Passes bytes between the proxy's end and the peer.
    private func join(_ descriptor: Int32, _ peer: any Channel, _ address: UpstreamAddress) {
        let (far, near) = PipeHandler.pair()
        let boundNear = NIOLoopBound(near, eventLoop: peer.eventLoop)
        do {
            try peer.pipeline.syncOperations.addHandler(far)
        } catch {
            peer.close(promise: nil)
            close(descriptor)
            return
        }
        ClientBootstrap(group: peer.eventLoop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(boundNear.value)
                }
            }
            .withConnectedSocket(descriptor)
            .whenComplete { [self] result in
                guard case .success(let pipe) = result else { return peer.close(promise: nil) }
                LinkMonitor.watch(peer, silence: configuration.silence) { [onFailure, configuration] in
                    onFailure(
                        address,
                        "it has acknowledged nothing for \(configuration.silence); the link to it may be cut"
                    )
                    // First the proxy's side, which must not wait until TLS has given up on a good-bye.
                    pipe.close(promise: nil)
                    peer.close(promise: nil)
                }
            }
    }

    /// The descriptor is new and its buffer empty, so that the answer fits.
    private func refuse(_ descriptor: Int32, _ address: UpstreamAddress, _ reason: String) {
        onFailure(address, reason)
        _ = PeerGroup.unreachable.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        close(descriptor)
    }

    private static func load(_ configuration: Configuration) throws -> Client {
        let file = configuration.certificate
        do {
            let (chain, key) = try file.read()
            var client = TLSConfiguration.makeClientConfiguration()
            client.certificateChain = chain.map { .certificate($0) }
            client.privateKey = .privateKey(key)
            client.minimumTLSVersion = .tlsv12
            client.applicationProtocols = ["http/1.1"]
            try requirePeer(of: configuration.authorityPath, in: &client)
            return Client(configuration: client, context: try NIOSSLContext(configuration: client))
        } catch let error as CertificateError {
            throw error
        } catch {
            throw CertificateError(
                description:
                    "load the certificate for peers \(file.chainPath) with the key \(file.keyPath): \(error); both "
                    + "must be PEM files that belong together"
            )
        }
    }

    /// Lets a side of a connection believe certificates that the authority has signed, and nobody without one.
    static func requirePeer(of authorityPath: String, in configuration: inout TLSConfiguration) throws {
        let authority: [NIOSSLCertificate]
        do { authority = try NIOSSLCertificate.fromPEMFile(authorityPath) } catch {
            throw CertificateError(
                description:
                    "load the peers' authority \(authorityPath): \(error); it must be a PEM file of certificates"
            )
        }
        guard !authority.isEmpty else {
            throw CertificateError(
                description: "load the peers' authority \(authorityPath): it has no certificate"
            )
        }
        configuration.trustRoots = .certificates(authority)
        configuration.certificateVerification = .noHostnameVerification
    }
}

/// Tells when the handshake is done, or will not be.
private final class HandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let promise: EventLoopPromise<Void>

    init(_ promise: EventLoopPromise<Void>) { self.promise = promise }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent { promise.succeed() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(error)
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.fail(ChannelError.eof)
        context.fireChannelInactive()
    }
}
