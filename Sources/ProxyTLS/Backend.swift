import NIOCore
import NIOPosix
import Proxy

/// Connections to the proxy behind the front.
enum Backend {
    /// Opens one on the same event loop; `prepare` adds handlers before the first byte is read.
    static func connect(
        _ proxy: ProxyServer,
        _ client: Client,
        on eventLoop: any EventLoop,
        peers: PeerGroup? = nil,
        _ prepare: @escaping @Sendable (any Channel) throws -> Void
    ) -> EventLoopFuture<Void> {
        do {
            let pair = try makeProxyPair()
            return ClientBootstrap(group: eventLoop)
                .channelOption(.allowRemoteHalfClosure, value: true)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try prepare(channel) }
                }
                .withConnectedSocket(pair.own)
                .map { _ in
                    proxy.adopt(
                        descriptor: pair.proxy,
                        client: client.address,
                        port: client.port,
                        isSecure: true,
                        peers: peers
                    )
                }
        } catch {
            return eventLoop.makeFailedFuture(error)
        }
    }
}

/// Passes bytes between two channels of one event loop, in step: one side is read only while the other takes more.
final class PipeHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var partner: PipeHandler?
    private var context: ChannelHandlerContext?
    private var waitsToRead = false
    private let isPlain: Bool

    private init(isPlain: Bool) { self.isPlain = isPlain }

    /// One for the side with TLS and one for the side without.
    static func pair() -> (secure: PipeHandler, plain: PipeHandler) {
        let (a, b) = (PipeHandler(isPlain: false), PipeHandler(isPlain: true))
        a.partner = b
        b.partner = a
        return (a, b)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isWritable { partner?.partnerIsWritable() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        partner = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        partner?.context?.write(NIOAny(unwrapInboundIn(data)), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) { partner?.context?.flush() }

    func channelInactive(context: ChannelHandlerContext) {
        partner?.partnerEnded()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // TLS knows no half-closed connection: the other side's end, sent after what is still under way, ends both.
        if let event = event as? ChannelEvent, event == .inputClosed {
            partner?.context?.close(promise: nil)
            context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { partner?.partnerIsWritable() }
        context.fireChannelWritabilityChanged()
    }

    func read(context: ChannelHandlerContext) {
        if partner?.context?.channel.isWritable == true {
            context.read()
        } else {
            waitsToRead = true
        }
    }

    /// Ends this side too, after what is still under way: TLS sees to that by itself.
    private func partnerEnded() {
        guard let context else { return }
        guard isPlain else { return context.close(promise: nil) }
        let sent = context.eventLoop.makePromise(of: Void.self)
        let channel = context.channel
        sent.futureResult.whenComplete { _ in channel.close(promise: nil) }
        context.writeAndFlush(NIOAny(ByteBuffer()), promise: sent)
    }

    private func partnerIsWritable() {
        guard waitsToRead else { return }
        waitsToRead = false
        context?.read()
    }
}
