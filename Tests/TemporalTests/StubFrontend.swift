import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL
import Synchronization
import Temporal

/// A frontend that records what is asked of it and answers with the statuses that it is given, then with `ok`.
///
/// Polls it never answers.
final class StubFrontend: Sendable {
    private struct State {
        var statuses: [RPCError.Code]
        var headers: [HPACKHeaders] = []
        var connections = 0
    }

    private let state: Mutex<State>

    private init(statuses: [RPCError.Code]) {
        state = Mutex(State(statuses: statuses))
    }

    var requests: [HPACKHeaders] { state.withLock { $0.headers } }
    /// How many connections are open.
    var connections: Int { state.withLock { $0.connections } }

    static func with<Result>(
        statuses: [RPCError.Code] = [],
        maximumStreams: Int = 100,
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
                    var configuration = NIOHTTP2Handler.ConnectionConfiguration()
                    configuration.initialSettings = [
                        HTTP2Setting(parameter: .maxConcurrentStreams, value: maximumStreams)
                    ]
                    try channel.pipeline.syncOperations.addHandlers([
                        NIOHTTP2Handler(
                            mode: .server,
                            frameDelegate: nil,
                            connectionConfiguration: configuration,
                            streamConfiguration: .init()
                        ),
                        Answerer(stub),
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

        func channelActive(context: ChannelHandlerContext) {
            stub.state.withLock { $0.connections += 1 }
            context.fireChannelActive()
        }

        func channelInactive(context: ChannelHandlerContext) {
            stub.state.withLock { $0.connections -= 1 }
            context.fireChannelInactive()
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let frame = unwrapInboundIn(data)
            guard case .headers(let request) = frame.payload else { return }
            let status = stub.next(request.headers)
            if request.headers.first(name: ":path")?.contains("/Poll") == true { return }
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
