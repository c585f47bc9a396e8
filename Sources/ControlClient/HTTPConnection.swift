import Control
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Makes one HTTP/1.1 request on a connection of its own, which is all that a command needs.
struct HTTPConnection {
    enum Body {
        case empty
        case bytes([UInt8])
        /// A file, and who is told how many bytes of it have been sent.
        case file(URL, bytes: Int, onProgress: @Sendable (Int) -> Void)
    }

    typealias Exchange = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>

    let endpoint: Endpoint

    private static let connectTimeout = TimeAmount.seconds(10)
    /// The API gives signs of life more often than this, also while it works.
    private static let idleTimeout = TimeAmount.seconds(90)

    /// Sends a request and hands the answer's head and body to `read`.
    ///
    /// - Throws: ``MartletError`` with code `unavailable` when the API cannot be reached or falls silent.
    func send<Result: Sendable>(
        _ head: HTTPRequestHead,
        body: Body,
        read: @Sendable (HTTPResponseHead, ResponseBodyReader) async throws -> Result
    ) async throws -> Result {
        let exchange = try await connect()
        do {
            return try await exchange.executeThenClose { inbound, outbound in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    // A server that refuses an upload answers before it has read all of it, so both go on at once.
                    group.addTask { try? await Self.write(head, body, to: outbound) }
                    defer { group.cancelAll() }
                    let reader = ResponseBodyReader(inbound)
                    return try await read(try await reader.head(), reader)
                }
            }
        } catch let error as MartletError {
            throw error
        } catch let error as CancellationError {
            throw error
        } catch {
            throw MartletError(
                .unavailable,
                "the connection to Martlet at \(endpoint) broke: \(error)",
                cause: error
            )
        }
    }

    private func connect() async throws -> Exchange {
        let endpoint = endpoint
        do {
            return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(Self.connectTimeout)
                .connect(host: endpoint.host, port: endpoint.port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        if endpoint.isSecure {
                            let context = try NIOSSLContext(configuration: .makeClientConfiguration())
                            let isName = !endpoint.host.contains(":") && endpoint.host.last?.isNumber != true
                            try pipeline.addHandler(
                                NIOSSLClientHandler(
                                    context: context,
                                    serverHostname: isName ? endpoint.host : nil
                                )
                            )
                        }
                        try pipeline.addHTTPClientHandlers()
                        try pipeline.addHandler(IdleStateHandler(allTimeout: Self.idleTimeout))
                        try pipeline.addHandler(IdleConnectionHandler())
                        return try Exchange(wrappingChannelSynchronously: channel)
                    }
                }
        } catch {
            throw MartletError(
                .unavailable,
                "cannot reach Martlet at \(endpoint): \(Self.reason(error)). Start it with `martlet up`, or name another "
                    + "with --api or MARTLET_API",
                cause: error
            )
        }
    }

    private static func reason(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            if let first = error.connectionErrors.first { return reason(first.error) }
            return "the name \(error.host) cannot be found"
        }
        if let error = error as? IOError { return String(cString: strerror(error.errnoCode)) }
        if case ChannelError.connectTimeout(let limit) = error {
            return "no answer within \(limit.nanoseconds / 1_000_000_000) s"
        }
        return "\(error)"
    }

    private static func write(
        _ head: HTTPRequestHead,
        _ body: Body,
        to outbound: NIOAsyncChannelOutboundWriter<HTTPClientRequestPart>
    ) async throws {
        var head = head
        switch body {
        case .empty: break
        case .bytes(let bytes): head.headers.replaceOrAdd(name: "content-length", value: "\(bytes.count)")
        case .file(_, let bytes, _): head.headers.replaceOrAdd(name: "content-length", value: "\(bytes)")
        }
        try await outbound.write(.head(head))
        switch body {
        case .empty: break
        case .bytes(let bytes): try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: bytes))))
        case .file(let file, _, let onProgress):
            let handle = try FileHandle(forReadingFrom: file)
            defer { try? handle.close() }
            var sent = 0
            while let data = try handle.read(upToCount: 64 * 1024), !data.isEmpty {
                try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: data))))
                sent += data.count
                onProgress(sent)
            }
        }
        try await outbound.write(.end(nil))
    }
}

/// Closes a connection on which nothing has moved for too long.
private final class IdleConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is IdleStateHandler.IdleStateEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        context.fireErrorCaught(
            MartletError(.timeout, "Martlet has not said anything for too long; is it overloaded?")
        )
        context.close(promise: nil)
    }
}
