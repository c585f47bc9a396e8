import Logging
import NIOCore
import NIOHTTP2
import NIOPosix
import NIOSSL

import struct Foundation.Data

/// The way to the server: connects when a call needs it, again after a loss, and never twice at once.
///
/// ```
/// idle ──call──► connecting ──connected──► ready ──lost, or the server says goodbye──► idle
///                    │ failed: the calls that waited fail; the next attempt waits longer ▲
///                    └──────────────────────────────────────────────────────────────────┘
/// any ──close()──► closed
/// ```
///
/// `@unchecked Sendable`: its state and the calls are touched on `loop` only.
final class Link: @unchecked Sendable {
    private enum State {
        case idle
        case connecting(waiting: [Call])
        case ready(StreamTable)
        case closed
    }

    private let configuration: TemporalConnection.Configuration
    private let logger: Logger
    private let loop: any EventLoop
    private var state = State.idle
    private var failures = 0
    private var nextAttempt = NIODeadline.distantPast
    private var tlsContext: NIOSSLContext?

    init(_ configuration: TemporalConnection.Configuration, logger: Logger, loop: any EventLoop) {
        self.configuration = configuration
        self.logger = logger
        self.loop = loop
    }

    /// One attempt of a call.
    func send(
        path: String,
        request: ByteBuffer,
        metadata: [(String, String)],
        timeout: TimeAmount
    ) async throws -> ByteBuffer {
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            // Unsafe, because a checked one costs an allocation for each call; `Call.finish` resumes it once.
            try await withUnsafeThrowingContinuation { continuation in
                loop.execute {
                    let call = Call(
                        path: path,
                        request: request,
                        deadline: .now() + timeout,
                        continuation: continuation
                    )
                    cancellation.call = call
                    if cancellation.isCancelled {
                        self.cancel(call)
                    } else {
                        self.begin(call, metadata, timeout)
                    }
                }
            }
        } onCancel: {
            loop.execute {
                cancellation.isCancelled = true
                if let call = cancellation.call { self.cancel(call) }
            }
        }
    }

    /// Closes the connection; calls in flight and later ones fail.
    func close() async {
        let closed = loop.makePromise(of: Void.self)
        loop.execute {
            let last = self.state
            self.state = .closed
            switch last {
            case .ready(let table): table.close()
            case .connecting(let waiting): for call in waiting { call.finish(.failure(Self.closedError)) }
            case .idle, .closed: break
            }
            closed.succeed()
        }
        // The promise is only ever succeeded.
        try? await closed.futureResult.get()
    }

    private static let closedError = RPCError(
        code: .cancelled,
        message: "the connection was closed by this client"
    )

    /// Where a call and its cancellation meet, on the loop.
    private final class Cancellation: @unchecked Sendable {
        var call: Call?
        var isCancelled = false
    }

    private func cancel(_ call: Call) {
        abandon(call)
        call.finish(.failure(RPCError(code: .cancelled, message: "the call was cancelled")))
    }

    private func abandon(_ call: Call) {
        switch state {
        case .ready(let table): table.abandon(call)
        case .connecting(let waiting): state = .connecting(waiting: waiting.filter { $0 !== call })
        case .idle, .closed: break
        }
    }

    private func begin(_ call: Call, _ metadata: [(String, String)], _ timeout: TimeAmount) {
        call.metadata = metadata
        let callBox = NIOLoopBound(call, eventLoop: loop)
        call.timer = loop.scheduleTask(in: timeout) { self.expire(callBox.value, timeout) }
        guard callsInFlight < configuration.maximumCallsInFlight else {
            let limit =
                "more than \(configuration.maximumCallsInFlight) calls are in flight on this connection"
            return call.finish(.failure(RPCError(code: .resourceExhausted, message: limit)))
        }
        switch state {
        case .ready(let table):
            table.start(call)
        case .connecting(let waiting):
            state = .connecting(waiting: waiting + [call])
        case .idle:
            state = .connecting(waiting: [call])
            let wait = nextAttempt - .now()
            if wait > .zero { loop.scheduleTask(in: wait) { self.connect() } } else { connect() }
        case .closed:
            call.finish(.failure(Self.closedError))
        }
    }

    private var callsInFlight: Int {
        switch state {
        case .ready(let table): table.callsInFlight
        case .connecting(let waiting): waiting.count
        case .idle, .closed: 0
        }
    }

    private func expire(_ call: Call, _ timeout: TimeAmount) {
        guard !call.isFinished else { return }
        if case .ready(let table) = state { table.probe(ifSilentSince: call.started) }
        let reason = if case .connecting = state { "still connecting" } else { "no answer" }
        abandon(call)
        let address = "\(configuration.host):\(configuration.port)"
        call.finish(
            .failure(
                RPCError(
                    code: .deadlineExceeded,
                    message:
                        "\(call.path) at \(address): \(reason) after \(timeout.nanoseconds / 1_000_000) ms"
                )
            )
        )
    }

    // MARK: Connecting

    private func connect() {
        guard case .connecting = state else { return }
        let tls: NIOSSLContext?
        do { tls = try makeTLSContext() } catch {
            // Certificates that cannot be read do not get better by trying again.
            return connectFailed(RPCError(code: .invalidArgument, message: "TLS configuration: \(error)"))
        }
        let table = StreamTable(
            settings: .init(
                authority: "\(configuration.host):\(configuration.port)",
                scheme: tls == nil ? "http" : "https",
                maximumMessageBytes: configuration.maximumMessageBytes,
                keepAliveInterval: TimeAmount(configuration.keepAliveInterval),
                keepAliveTimeout: TimeAmount(configuration.keepAliveTimeout),
                settingsTimeout: TimeAmount(configuration.connectTimeout)
            )
        )
        table.onOpen = { [weak self, weak table] in
            guard let self, let table else { return }
            connected(table)
        }
        table.onClosing = { [weak self, weak table] wasReady in
            guard let self, let table else { return }
            lost(table, wasReady: wasReady)
        }
        let box = NIOLoopBound(table, eventLoop: loop)
        ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(configuration.connectTimeout))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelInitializer { [configuration] channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(Self.tlsHandler(tls, configuration))
                    }
                    try channel.pipeline.syncOperations.addHandlers([Self.http2Handler(), box.value])
                }
            }
            .connect(host: configuration.host, port: configuration.port)
            .whenFailure { error in self.connectFailed(self.connectError(error)) }
    }

    private func connected(_ table: StreamTable) {
        guard case .connecting(let waiting) = state else { return table.close() }
        logger.debug(
            "connected to Temporal",
            metadata: ["address": "\(configuration.host):\(configuration.port)"]
        )
        state = .ready(table)
        for call in waiting { table.start(call) }
    }

    private func connectFailed(_ error: RPCError) {
        backOff()
        guard case .connecting(let waiting) = state else { return }
        state = .idle
        for call in waiting { call.finish(.failure(error)) }
    }

    private func lost(_ table: StreamTable, wasReady: Bool) {
        if wasReady { failures = 0 } else { backOff() }
        guard case .ready(let current) = state, current === table else { return }
        state = .idle
    }

    private func backOff() {
        failures += 1
        nextAttempt = .now() + .milliseconds(min(1000, 25 << min(failures, 6)))
    }

    private func connectError(_ error: any Error) -> RPCError {
        var reason = "\(error)"
        if let error = error as? NIOConnectionError {
            let name = error.dnsAError ?? error.dnsAAAAError
            reason = error.connectionErrors.first.map { "\($0.error)" } ?? name.map { "\($0)" } ?? reason
        }
        return RPCError(
            code: .unavailable,
            message:
                "could not connect to Temporal at \(configuration.host):\(configuration.port): \(reason); "
                + "is the server running, and is this its gRPC address?"
        )
    }

    // MARK: Layers

    private func makeTLSContext() throws -> NIOSSLContext? {
        guard let tls = configuration.effectiveTLS else { return nil }
        if let tlsContext { return tlsContext }
        var settings = TLSConfiguration.makeClientConfiguration()
        settings.applicationProtocols = ["h2"]
        settings.minimumTLSVersion = .tlsv12
        if let roots = tls.trustRoots {
            settings.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(roots)))
        }
        if let certificate = tls.certificate {
            settings.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate))
                .map { .certificate($0) }
        }
        if let key = tls.privateKey {
            settings.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(key), format: .pem))
        }
        let context = try NIOSSLContext(configuration: settings)
        tlsContext = context
        return context
    }

    private static func tlsHandler(
        _ context: NIOSSLContext,
        _ configuration: TemporalConnection.Configuration
    ) throws -> NIOSSLClientHandler {
        let name = configuration.effectiveTLS?.serverName ?? configuration.host
        // The name of a server that is addressed by number is not sent; its certificate must carry the address.
        let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
        return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : name)
    }

    private static func http2Handler() -> NIOHTTP2Handler {
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        var stream = NIOHTTP2Handler.StreamConfiguration()
        connection.initialSettings = [
            HTTP2Setting(parameter: .enablePush, value: 0),
            HTTP2Setting(parameter: .maxConcurrentStreams, value: 0),
            HTTP2Setting(parameter: .initialWindowSize, value: StreamTable.streamWindowBytes),
            HTTP2Setting(parameter: .maxHeaderListSize, value: 64 << 10),
        ]
        // Temporal's server sends a PING for most requests; the default of 200 control frames in 30 s would close
        // a busy connection. NIO reserves memory for as many frames as the limit, so it isn't larger than needed.
        connection.controlFrameRateLimit.maximumCount = 10_000
        connection.controlFrameRateLimit.windowLength = .seconds(1)
        stream.streamResetFrameRateLimit.maximumCount = 10_000
        stream.streamResetFrameRateLimit.windowLength = .seconds(1)
        stream.streamErrorRateLimit.maximumCount = 10_000
        stream.streamErrorRateLimit.windowLength = .seconds(1)
        connection.maximumConnectionGlitches = 10_000
        return NIOHTTP2Handler(
            mode: .client,
            frameDelegate: nil,
            connectionConfiguration: connection,
            streamConfiguration: stream
        )
    }
}
