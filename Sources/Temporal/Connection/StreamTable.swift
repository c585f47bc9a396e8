import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOSSL
import NIOTLS

import struct Foundation.Data

/// One call: its request until it is sent, and whoever waits for its answer.
///
/// Touched on the event loop only.
final class Call {
    let path: String
    let request: ByteBuffer
    let metadata: [(String, String)]
    let timeout: TimeAmount
    let started = NIODeadline.now()
    var deadline: NIODeadline { started + timeout }
    /// The connection that it was started on.
    weak var table: StreamTable?
    var streamID: HTTP2StreamID?
    var answer = ByteBuffer()
    private let continuation: UnsafeContinuation<ByteBuffer, any Error>
    private(set) var isFinished = false

    /// The continuation is resumed by the first call of ``finish(_:)``; later ones do nothing.
    init(
        path: String,
        request: ByteBuffer,
        metadata: [(String, String)],
        timeout: TimeAmount,
        continuation: UnsafeContinuation<ByteBuffer, any Error>
    ) {
        self.path = path
        self.request = request
        self.metadata = metadata
        self.timeout = timeout
        self.continuation = continuation
    }

    func finish(_ result: Result<ByteBuffer, RPCError>) {
        guard !isFinished else { return }
        isFinished = true
        continuation.resume(with: result.mapError { $0 as any Error })
    }
}

/// The calls of one HTTP/2 connection, straight on its frames.
///
/// A unary call is one HEADERS and one DATA frame each way, so there is no channel for each stream: a table from
/// stream numbers to calls does. The same handler keeps the flow-control windows open and the connection alive.
final class StreamTable: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// What a server may send before it has to wait for us, for a stream and for the whole connection, in bytes.
    static let streamWindowBytes = 8 << 20
    static let connectionWindowBytes = 32 << 20

    struct Settings {
        var authority: String
        var scheme: String
        /// What the server is believed to allow, until it says so itself.
        var maximumStreams: Int
        var maximumMessageBytes: Int
        var keepAliveInterval: TimeAmount
        var keepAliveTimeout: TimeAmount
        var settingsTimeout: TimeAmount
    }

    private let settings: Settings
    private var context: ChannelHandlerContext?
    private(set) var calls: [HTTP2StreamID: Call] = [:]
    private var nextStreamID = HTTP2StreamID(1)
    private(set) var maximumStreams: Int
    private var unacknowledgedBytes = 0
    private var lastRead = NIODeadline.now()
    private var idleSince = NIODeadline.now()
    private var pingSent: NIODeadline?
    private var keepAlive: RepeatedTask?
    private var hasServerSettings = false
    private var failure: String?
    /// No new calls: the server said goodbye or the connection is lost.
    private(set) var isClosing = false
    /// Runs once, when the connection can take calls: after HTTP/2's preface, which NIO sends after it has completed
    /// the future of the connection attempt.
    var onOpen: (() -> Void)?
    /// Runs when a call has ended, so that another may begin.
    var onFreeStream: (() -> Void)?
    /// Runs from time to time while there are no calls, from ``Settings/keepAliveInterval`` after the last on.
    var onIdle: (() -> Void)?
    /// Runs once, when the connection takes no more calls.
    var onClosing: ((_ wasReady: Bool) -> Void)?

    init(settings: Settings) {
        self.settings = settings
        maximumStreams = settings.maximumStreams
    }

    var callsInFlight: Int { calls.count }
    var hasFreeStream: Bool { calls.count < maximumStreams && !isClosing }

    // MARK: Calls

    func start(_ call: Call) {
        guard let context, !isClosing else {
            return call.finish(.failure(unavailable("the connection was lost")))
        }
        let streamID = nextStreamID
        guard Int(streamID) < Int(Int32.max) - 2 else {
            stopTakingCalls()
            return call.finish(.failure(unavailable("the connection has used up its streams")))
        }
        nextStreamID = HTTP2StreamID(Int(streamID) + 2)
        call.table = self
        call.streamID = streamID
        calls[streamID] = call

        var headers = HPACKHeaders()
        headers.reserveCapacity(8 + call.metadata.count)
        headers.add(name: ":method", value: "POST")
        headers.add(name: ":scheme", value: settings.scheme)
        headers.add(name: ":path", value: call.path)
        headers.add(name: ":authority", value: settings.authority)
        headers.add(name: "te", value: "trailers")
        headers.add(name: "content-type", value: "application/grpc")
        let left = max(1, (call.deadline - .now()).nanoseconds / 1_000_000)
        headers.add(name: "grpc-timeout", value: "\(min(left, 99_999_999))m", indexing: .nonIndexable)
        for (name, value) in call.metadata { headers.add(name: name, value: value) }
        write(.headers(.init(headers: headers)), on: streamID)
        write(.data(.init(data: .byteBuffer(call.request), endStream: true)), on: streamID)
        context.flush()
    }

    /// Ends a call that nobody waits for any more, and tells the server.
    func abandon(_ call: Call) {
        guard let streamID = call.streamID, calls.removeValue(forKey: streamID) != nil else { return }
        write(.rstStream(.cancel), on: streamID)
        context?.flush()
        ended()
    }

    /// Asks for a sign of life when nothing at all has come since `time`.
    func probe(ifSilentSince time: NIODeadline) {
        if lastRead < time { ping() }
    }

    func close() {
        failure = failure ?? "the connection was closed by this client"
        stopTakingCalls()
        context?.close(promise: nil)
    }

    private func write(_ payload: HTTP2Frame.FramePayload, on streamID: HTTP2StreamID) {
        context?.write(wrapOutboundOut(HTTP2Frame(streamID: streamID, payload: payload)), promise: nil)
    }

    private func finish(_ streamID: HTTP2StreamID, _ result: Result<ByteBuffer, RPCError>) {
        guard let call = calls.removeValue(forKey: streamID) else { return }
        call.finish(result)
        ended()
    }

    private func ended() {
        if calls.isEmpty { idleSince = .now() }
        if !isClosing { onFreeStream?() } else if calls.isEmpty { context?.close(promise: nil) }
    }

    private func unavailable(_ message: String) -> RPCError {
        RPCError(code: .unavailable, message: "\(settings.authority): \(failure ?? message)")
    }

    private func stopTakingCalls() {
        isClosing = true
        onClosing?(hasServerSettings)
        onClosing = nil
    }

    // MARK: The connection

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { open(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        open(context)
        context.fireChannelActive()
    }

    private func open(_ context: ChannelHandlerContext) {
        guard keepAlive == nil else { return }
        let tick = min(settings.keepAliveInterval, settings.keepAliveTimeout, settings.settingsTimeout)
        let opened = NIODeadline.now()
        lastRead = opened
        write(.windowUpdate(windowSizeIncrement: Self.connectionWindowBytes - 65_535), on: .rootStream)
        context.flush()
        let table = NIOLoopBound(self, eventLoop: context.eventLoop)
        keepAlive = context.eventLoop.scheduleRepeatedTask(initialDelay: tick, delay: tick) { _ in
            table.value.checkLife(opened)
        }
        onOpen?()
        onOpen = nil
    }

    private func checkLife(_ opened: NIODeadline) {
        let now = NIODeadline.now()
        if !hasServerSettings, now - opened >= settings.settingsTimeout {
            giveUp("no HTTP/2 answer; is this the port of Temporal's gRPC frontend, and does it expect TLS?")
        } else if let pingSent, now - pingSent >= settings.keepAliveTimeout {
            giveUp(
                "the server gave no sign of life in \(settings.keepAliveTimeout.nanoseconds / 1_000_000) ms"
            )
        } else if now - lastRead >= settings.keepAliveInterval {
            ping()
        }
        if calls.isEmpty, now - idleSince >= settings.keepAliveInterval { onIdle?() }
    }

    private func ping() {
        guard pingSent == nil, hasServerSettings else { return }
        pingSent = .now()
        write(.ping(HTTP2PingData(withInteger: 0), ack: false), on: .rootStream)
        context?.flush()
    }

    private func giveUp(_ reason: String) {
        failure = failure ?? reason
        context?.close(promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastRead = .now()
        let frame = unwrapInboundIn(data)
        switch frame.payload {
        case .headers(let headers): received(headers, on: frame.streamID)
        case .data(let data): received(data, on: frame.streamID)
        case .settings(.settings(let settings)):
            hasServerSettings = true
            for setting in settings where setting.parameter == .maxConcurrentStreams {
                maximumStreams = setting.value
            }
            onFreeStream?()
        case .ping(_, ack: true): pingSent = nil
        case .goAway(let last, let code, _):
            failure = "the server closed the connection (GOAWAY, \(code))"
            stopTakingCalls()
            for streamID in calls.keys where Int(streamID) > Int(last) {
                finish(streamID, .failure(unavailable("the call was not processed")))
            }
            if calls.isEmpty { context.close(promise: nil) }
        default: break
        }
    }

    private func received(_ payload: HTTP2Frame.FramePayload.Headers, on streamID: HTTP2StreamID) {
        guard let call = calls[streamID] else { return }
        let status = payload.headers.first(name: ":status")
        if let status, status != "200" {
            let code = Self.code(ofHTTPStatus: status)
            finish(
                streamID,
                .failure(RPCError(code: code, message: "\(settings.authority) answered HTTP \(status)"))
            )
        } else if payload.endStream {
            finish(streamID, result(of: call, trailers: payload.headers))
        }
    }

    private func received(_ payload: HTTP2Frame.FramePayload.Data, on streamID: HTTP2StreamID) {
        guard case .byteBuffer(var bytes) = payload.data else { return }
        // The windows are opened again when half of them is used.
        unacknowledgedBytes += bytes.readableBytes
        if unacknowledgedBytes > Self.connectionWindowBytes / 2 {
            write(.windowUpdate(windowSizeIncrement: unacknowledgedBytes), on: .rootStream)
            unacknowledgedBytes = 0
            context?.flush()
        }
        guard let call = calls[streamID] else { return }
        if call.answer.readableBytes + bytes.readableBytes > settings.maximumMessageBytes {
            abandon(call)
            let limit = "the answer to \(call.path) is longer than \(settings.maximumMessageBytes) bytes"
            return call.finish(.failure(RPCError(code: .resourceExhausted, message: limit)))
        }
        if call.answer.readableBytes == 0 { call.answer = bytes } else { call.answer.writeBuffer(&bytes) }
        if payload.endStream {
            finish(
                streamID,
                .failure(RPCError(code: .internal, message: "\(settings.authority): no gRPC status"))
            )
        } else if call.answer.readableBytes > Self.streamWindowBytes / 2 {
            write(.windowUpdate(windowSizeIncrement: payload.data.readableBytes), on: streamID)
            context?.flush()
        }
    }

    private func result(of call: Call, trailers: HPACKHeaders) -> Result<ByteBuffer, RPCError> {
        let code =
            trailers.first(name: "grpc-status").flatMap { Int($0) }.flatMap(RPCError.Code.init) ?? .unknown
        guard code != .ok else { return .success(call.answer) }
        let message = trailers.first(name: "grpc-message").map { $0.removingPercentEncoding ?? $0 } ?? ""
        let details = trailers.first(name: "grpc-status-details-bin").flatMap {
            Data(
                base64Encoded: $0.padding(toLength: ($0.utf8.count + 3) / 4 * 4, withPad: "=", startingAt: 0)
            )
        }
        return .failure(RPCError(code: code, message: message, details: details.map(Array.init) ?? []))
    }

    /// As gRPC maps them (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).
    private static func code(ofHTTPStatus status: String) -> RPCError.Code {
        switch status {
        case "400": .internal
        case "401": .unauthenticated
        case "403": .permissionDenied
        case "404": .unimplemented
        case "429", "502", "503", "504": .unavailable
        default: .unknown
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case let closed as StreamClosedEvent:
            let reason = closed.reason.map { " (\($0))" } ?? ""
            finish(
                closed.streamID,
                .failure(unavailable("the server ended the call without a status\(reason)"))
            )
        case TLSUserEvent.handshakeCompleted(let negotiated) where negotiated != "h2":
            giveUp(
                "the TLS server does not offer HTTP/2 (ALPN h2); is this the port of Temporal's gRPC frontend?"
            )
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let stream = error as? NIOHTTP2Errors.StreamError {
            return finish(stream.streamID, .failure(unavailable("\(stream.baseError)")))
        }
        // NIOSSL reports a connection that ends without TLS's goodbye; what came before it is whole.
        if case .uncleanShutdown? = error as? NIOSSLError { return }
        giveUp("\(error)")
    }

    func channelInactive(context: ChannelHandlerContext) {
        keepAlive?.cancel()
        stopTakingCalls()
        let lost = calls
        calls = [:]
        for call in lost.values { call.finish(.failure(unavailable("the connection was lost"))) }
        self.context = nil
        context.fireChannelInactive()
    }
}
