import NIOCore
import NIOPosix
import NIOSSL

/// A relay between clients and a server: takes TLS off, and cuts the way when told to.
///
/// `@unchecked Sendable`: its state is touched on `loop` only.
final class Relay: @unchecked Sendable {
    private let loop: any EventLoop
    private let target: Int
    private let tls: NIOSSLContext?
    private var channels: [ObjectIdentifier: any Channel] = [:]
    private var isCut = false
    private var accepted = 0
    private var listener: (any Channel)?

    private init(target: Int, tls: NIOSSLContext?) {
        self.target = target
        self.tls = tls
        loop = MultiThreadedEventLoopGroup.singleton.next()
    }

    static func with<Result>(
        to target: Int,
        tls: NIOSSLContext? = nil,
        _ body: (Relay, Int) async throws -> Result
    ) async throws -> Result {
        let relay = Relay(target: target, tls: tls)
        let listener = try await ServerBootstrap(group: relay.loop)
            .childChannelOption(.autoRead, value: true)
            .childChannelInitializer { channel in relay.accept(channel) }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            let result = try await body(relay, listener.localAddress?.port ?? 0)
            await relay.stop(listener)
            return result
        } catch {
            await relay.stop(listener)
            throw error
        }
    }

    private func stop(_ listener: any Channel) async {
        try? await listener.close()
        await reset()
    }

    /// How many connections there have been.
    var connections: Int {
        get async { (try? await loop.submit { self.accepted }.get()) ?? 0 }
    }

    /// Stops all traffic, without a word to either side; new connections get no answer.
    func cut() async { try? await loop.submit { self.isCut = true }.get() }

    func mend() async { try? await loop.submit { self.isCut = false }.get() }

    /// Closes all connections.
    func reset() async {
        try? await loop.submit {
            for channel in self.channels.values { channel.close(promise: nil) }
        }.get()
    }

    private func accept(_ client: any Channel) -> EventLoopFuture<Void> {
        accepted += 1
        track(client)
        return client.eventLoop.makeCompletedFuture {
            if let tls {
                try client.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
            }
        }.flatMap {
            ClientBootstrap(group: self.loop).connect(host: "127.0.0.1", port: self.target)
        }.flatMapThrowing { server in
            self.track(server)
            let line = Line()
            try client.pipeline.syncOperations.addHandler(Pipe(to: server, line, relay: self))
            try server.pipeline.syncOperations.addHandler(Pipe(to: client, line, relay: self))
        }
    }

    private func track(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        channels[id] = channel
        channel.closeFuture.whenComplete { _ in self.channels[id] = nil }
    }

    /// One connection through the relay, both ways.
    private final class Line {
        /// Whether anything was lost.
        ///
        /// TCP would send it again; without it the rest makes no sense, so nothing comes any more, and nobody is told.
        var isDead = false
    }

    private final class Pipe: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let other: any Channel
        private let line: Line
        private let relay: Relay

        init(to other: any Channel, _ line: Line, relay: Relay) {
            self.other = other
            self.line = line
            self.relay = relay
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if relay.isCut { line.isDead = true }
            guard !line.isDead else { return }
            other.writeAndFlush(unwrapInboundIn(data), promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) {
            if !relay.isCut { other.close(promise: nil) }
            context.fireChannelInactive()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
