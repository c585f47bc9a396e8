import NIOCore
import NIOHTTP2

/// One HTTP/2 connection as a whole: ends it on an error, such as a broken rule of HTTP/2 or TLS, when it has been idle
/// for too long, and, once the front drains, after its last stream.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// Fired into a connection's channel: no new streams; close after the last one.
    struct DrainEvent {}

    private(set) var isDraining = false
    private var openStreams = 0
    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func streamOpened() { openStreams += 1 }

    func streamClosed() {
        openStreams -= 1
        if isDraining && openStreams == 0 { context?.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A stream's error is the stream's: others on the connection go on.
        if error is NIOHTTP2Errors.StreamError || error is NIOHTTP2Errors.NoSuchStream { return }
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is IdleStateHandler.IdleStateEvent:
            // A stream that waits for its answer is the proxy's to end.
            if openStreams == 0 { context.close(promise: nil) }
        case is DrainEvent: drain(context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    /// RFC 9113 6.8: the highest number says that no stream was ignored.
    ///
    /// Those that come nevertheless are refused one by one, which tells the client that it may send them elsewhere.
    private func drain(_ context: ChannelHandlerContext) {
        guard !isDraining else { return }
        isDraining = true
        let goAway = HTTP2Frame.FramePayload.goAway(
            lastStreamID: .maxID,
            errorCode: .noError,
            opaqueData: nil
        )
        let last = context.eventLoop.makePromise(of: Void.self)
        if openStreams == 0 {
            let channel = context.channel
            last.futureResult.whenComplete { _ in channel.close(promise: nil) }
        }
        context.writeAndFlush(
            wrapOutboundOut(HTTP2Frame(streamID: .rootStream, payload: goAway)),
            promise: last
        )
    }
}
