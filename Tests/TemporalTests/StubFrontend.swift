import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL
import Synchronization
import Temporal

/// A frontend that records what is asked of it and answers with the statuses that it is given, then with `ok`.
final class StubFrontend: Sendable {
    private let state: Mutex<(statuses: [RPCError.Code], headers: [HPACKHeaders])>

    private init(statuses: [RPCError.Code]) {
        state = Mutex((statuses, []))
    }

    var requests: [HPACKHeaders] { state.withLock { $0.headers } }

    static func with<Result>(
        statuses: [RPCError.Code] = [],
        tls: NIOSSLContext? = nil,
        _ body: (StubFrontend, Int) async throws -> Result
    ) async throws -> Result {
        let stub = StubFrontend(statuses: statuses)
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
                    }
                    try channel.pipeline.syncOperations.addHandlers([
                        NIOHTTP2Handler(mode: .server, frameDelegate: nil), Answerer(stub),
                    ])
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            let result = try await body(stub, listener.localAddress?.port ?? 0)
            try await listener.close()
            return result
        } catch {
            try? await listener.close()
            throw error
        }
    }

    private func next(_ headers: HPACKHeaders) -> RPCError.Code {
        state.withLock {
            $0.headers.append(headers)
            return $0.statuses.isEmpty ? .ok : $0.statuses.removeFirst()
        }
    }

    private final class Answerer: ChannelInboundHandler {
        typealias InboundIn = HTTP2Frame
        typealias OutboundOut = HTTP2Frame
        private let stub: StubFrontend

        init(_ stub: StubFrontend) { self.stub = stub }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let frame = unwrapInboundIn(data)
            guard case .headers(let request) = frame.payload else { return }
            let status = stub.next(request.headers)
            write(
                context,
                frame.streamID,
                .headers(.init(headers: [":status": "200", "content-type": "application/grpc"]))
            )
            if status == .ok {
                write(
                    context,
                    frame.streamID,
                    .data(.init(data: .byteBuffer(ByteBuffer(repeating: 0, count: 5))))
                )
            }
            let trailers: HPACKHeaders = ["grpc-status": "\(status.rawValue)", "grpc-message": "told%20to"]
            write(context, frame.streamID, .headers(.init(headers: trailers, endStream: true)))
            context.flush()
        }

        private func write(
            _ context: ChannelHandlerContext,
            _ streamID: HTTP2StreamID,
            _ payload: HTTP2Frame.FramePayload
        ) {
            context.write(wrapOutboundOut(HTTP2Frame(streamID: streamID, payload: payload)), promise: nil)
        }
    }
}
