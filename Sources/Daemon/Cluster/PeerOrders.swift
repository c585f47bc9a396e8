import Control
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// Takes orders of other hosts, over a socket in the host's own folder.
///
/// Only the ingress leads there, for requests to ``ClusterView/ordersName`` with the cluster's secret.
final class PeerOrders: Sendable {
    /// What is done with an order; it refuses late ones.
    typealias Taker = @Sendable (AdoptOrder) async throws -> AdoptReport

    private let channel: any Channel

    /// An order holds the sealed variables of an app, which are far smaller.
    private static let limitBytes = 8 << 20

    private init(_ channel: any Channel) { self.channel = channel }

    static func listen(at path: String, _ take: @escaping Taker) async throws -> PeerOrders {
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.configureHTTPServerPipeline()
                    try pipeline.addHandler(NIOHTTPServerRequestAggregator(maxContentLength: limitBytes))
                    try pipeline.addHandler(Handler(take: take))
                }
            }
        return PeerOrders(
            try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        )
    }

    func close() async {
        // It may have ended with the process's event loops.
        try? await channel.close()
    }

    /// What an order came to, on its way back.
    struct Answer: Codable, Sendable {
        var report: AdoptReport?
        var failure: MartletFailure?
        var refusal: OrderRefusal?

        init(_ result: Result<AdoptReport, any Error>) {
            switch result {
            case .success(let report): self.report = report
            case .failure(let error):
                let error = error as? MartletError ?? MartletError(.internal, "\(error)")
                failure = MartletFailure(error)
                refusal = error.cause as? OrderRefusal
            }
        }

        /// - Throws: the other host's error.
        func get() throws -> AdoptReport {
            if let report { return report }
            throw MartletError(
                failure?.code ?? .internal,
                failure?.message ?? "the host answered without a report",
                cause: refusal
            )
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = NIOHTTPServerRequestFull
        typealias OutboundOut = HTTPServerResponsePart

        private let take: Taker

        init(take: @escaping Taker) { self.take = take }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let body = unwrapInboundIn(data).body.map { Data($0.readableBytesView) } ?? Data()
            let (channel, take) = (context.channel, take)
            // A handler is not async. The order goes on when the one who gave it hangs up: it may be asked about again.
            Task {
                let answer: Answer
                do {
                    let order = try JSONFormat.decoder().decode(AdoptOrder.self, from: body)
                    answer = Answer(.success(try await take(order)))
                } catch {
                    answer = Answer(.failure(error))
                }
                // Plain values can be encoded.
                let bytes = (try? JSONFormat.encoder().encode(answer)) ?? Data()
                var headers = HTTPHeaders([("Content-Type", "application/json")])
                headers.add(name: "Content-Length", value: "\(bytes.count)")
                channel.write(
                    HTTPServerResponsePart.head(.init(version: .http1_1, status: .ok, headers: headers)),
                    promise: nil
                )
                channel.write(
                    HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: bytes))),
                    promise: nil
                )
                channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
