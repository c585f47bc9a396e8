import NIOCore
import NIOHPACK
import NIOHTTP2
import Proxy

/// One stream of an HTTP/2 connection: a request to the proxy in HTTP/1.1, and its answer back (RFC 9113 8).
///
/// The request line and every field are checked before they are written, so that nothing in them can end a line; the
/// proxy then reads them as strictly as it reads those of other clients.
final class StreamHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let proxy: ProxyServer
    private let client: Client
    /// The connection drains: nothing of the request is looked at.
    private let isRefused: Bool
    private var context: ChannelHandlerContext?
    private var backend: ChannelHandlerContext?
    private var reader = AnswerReader(isHead: false)
    /// What is to be written once the connection to the proxy is there.
    private var pending: ByteBuffer?
    private var isChunked = false
    private var isTunnel = false
    private var hasEnded = false
    private var hasAnswered = false
    private var waitsToRead = false

    init(proxy: ProxyServer, client: Client, isRefused: Bool) {
        self.proxy = proxy
        self.client = client
        self.isRefused = isRefused
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        backend?.close(promise: nil)
        backend = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let frame): takeHeaders(context, frame)
        case .data(let frame): takeData(context, frame)
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        backend?.close(promise: nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func read(context: ChannelHandlerContext) {
        // More of the body is taken, and more window given, only while the proxy takes it.
        if let backend, backend.channel.isWritable {
            context.read()
        } else if backend == nil && pending == nil {
            context.read()
        } else {
            waitsToRead = true
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { backend?.read() }
        context.fireChannelWritabilityChanged()
    }

    private func takeHeaders(_ context: ChannelHandlerContext, _ frame: HTTP2Frame.FramePayload.Headers) {
        guard pending == nil, backend == nil, !hasEnded else {
            guard frame.endStream, let trailers = RequestText.trailers(frame.headers) else {
                return reset(context, .protocolError)
            }
            return endBody(trailers: trailers)
        }
        guard !isRefused else {
            hasEnded = true
            return reset(context, .refusedStream)
        }
        guard let request = RequestText(frame.headers, endsStream: frame.endStream) else {
            return reset(context, .protocolError)
        }
        reader = AnswerReader(isHead: request.isHead, asksForUpgrade: request.isTunnel)
        isChunked = request.isChunked
        isTunnel = request.isTunnel
        hasEnded = frame.endStream
        pending = request.bytes
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        let stream = context.channel
        Backend.connect(proxy, client, on: context.eventLoop) { channel in
            try channel.pipeline.syncOperations.addHandler(AnswerHandler(handler.value))
        }.whenFailure { _ in stream.close(promise: nil) }
    }

    private func takeData(_ context: ChannelHandlerContext, _ frame: HTTP2Frame.FramePayload.Data) {
        guard !hasEnded, case .byteBuffer(var bytes) = frame.data else { return }
        if bytes.readableBytes > 0 {
            if isChunked {
                var chunk = context.channel.allocator.buffer(capacity: bytes.readableBytes + 20)
                chunk.writeString(String(bytes.readableBytes, radix: 16) + "\r\n")
                chunk.writeBuffer(&bytes)
                chunk.writeString("\r\n")
                write(chunk)
            } else {
                write(bytes)
            }
        }
        if frame.endStream { endBody() }
    }

    private func endBody(trailers: String = "") {
        guard !hasEnded else { return }
        hasEnded = true
        if isChunked { write(ByteBuffer(string: "0\r\n\(trailers)\r\n")) }
        // The client's end of a tunnel is passed on; the other direction goes on.
        if isTunnel { backend?.close(mode: .output, promise: nil) }
    }

    private func write(_ bytes: ByteBuffer) {
        if let backend {
            backend.writeAndFlush(NIOAny(bytes), promise: nil)
        } else {
            pending?.writeImmutableBuffer(bytes)
        }
    }

    private func reset(_ context: ChannelHandlerContext, _ code: HTTP2ErrorCode) {
        context.writeAndFlush(wrapOutboundOut(.rstStream(code)), promise: nil)
        context.close(promise: nil)
    }

    // What the proxy says.

    fileprivate func backendOpened(_ backend: ChannelHandlerContext) {
        guard context != nil else { return backend.close(promise: nil) }
        self.backend = backend
        if let pending { backend.writeAndFlush(NIOAny(pending), promise: nil) }
        pending = nil
        if isTunnel && hasEnded { backend.close(mode: .output, promise: nil) }
        resume()
    }

    fileprivate func resume() {
        guard waitsToRead, let context else { return }
        waitsToRead = false
        context.read()
    }

    fileprivate var takesMore: Bool { context?.channel.isWritable ?? true }

    fileprivate func answered(_ bytes: ByteBuffer) {
        guard let context, !hasAnswered else { return }
        var isMalformed = false
        bytes.withUnsafeReadableBytes { raw in
            raw.withMemoryRebound(to: UInt8.self) { bytes in
                do { try reader.read(bytes) { send($0, context) } } catch { isMalformed = true }
            }
        }
        if isMalformed { return reset(context, .internalError) }
        context.flush()
        if reader.isComplete { finish(context) }
    }

    fileprivate func backendEnded() {
        backend = nil
        guard let context, !hasAnswered else { return }
        if reader.end({ send($0, context) }) {
            context.flush()
            finish(context)
        } else {
            // The proxy cut the answer: so must this, for the client to tell.
            reset(context, .internalError)
        }
    }

    private func send(_ event: AnswerReader.Event, _ context: ChannelHandlerContext) {
        switch event {
        case .head(let status, let fields, _):
            var headers = HPACKHeaders()
            // RFC 8441 5: a WebSocket is answered with 200, and has no key to accept.
            let isOpened = isTunnel && status == 101
            headers.add(name: ":status", value: isOpened ? "200" : String(status))
            for field in fields where !isOpened || field.name != "sec-websocket-accept" {
                headers.add(name: field.name, value: field.value)
            }
            context.write(wrapOutboundOut(.headers(.init(headers: headers))), promise: nil)
        case .data(let bytes):
            context.write(
                wrapOutboundOut(.data(.init(data: .byteBuffer(ByteBuffer(bytes: bytes))))),
                promise: nil
            )
        case .end(let trailers) where !trailers.isEmpty:
            let headers = HPACKHeaders(trailers.map { ($0.name, $0.value) })
            context.write(wrapOutboundOut(.headers(.init(headers: headers, endStream: true))), promise: nil)
        case .end:
            context.write(
                wrapOutboundOut(.data(.init(data: .byteBuffer(ByteBuffer()), endStream: true))),
                promise: nil
            )
        }
    }

    private func finish(_ context: ChannelHandlerContext) {
        hasAnswered = true
        backend?.close(promise: nil)
        backend = nil
        // RFC 9113 8.1: a whole answer before the request's end; the rest is not wanted.
        if !hasEnded { reset(context, .noError) }
    }
}

/// The proxy's side of a stream.
private final class AnswerHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    private let stream: StreamHandler

    init(_ stream: StreamHandler) { self.stream = stream }

    func channelActive(context: ChannelHandlerContext) {
        stream.backendOpened(context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { stream.answered(unwrapInboundIn(data)) }

    func read(context: ChannelHandlerContext) {
        if stream.takesMore { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { stream.resume() }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        stream.backendEnded()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
