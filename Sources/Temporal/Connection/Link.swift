import Logging
import NIOCore
import NIOHTTP2
import NIOPosix
import NIOSSL

import struct Foundation.Data

/// The way to the server: connects when a call needs it, again after a loss, and once more when all connections are full.
///
/// A connection takes as many calls at a time as the server allows, or NIO where the server does not say (100). Calls that
/// only wait for something, such as polls and results, fill connections quickly; without another one they would keep
/// all other calls waiting.
///
/// ```
/// call ──► a connection with a free stream, the oldest first
///   └────► waiting ──a stream becomes free, or a connection is made──► started
///                  ──no connection is left, and none can be made────► failed
/// ```
///
/// `@unchecked Sendable`: its state and the calls are touched on `loop` only.
final class Link: @unchecked Sendable {
    private let configuration: TemporalConnection.Configuration
    private let logger: Logger
    private let loop: any EventLoop
    /// Those that take calls, oldest first.
    private var tables: [StreamTable] = []
    /// Those that take no more calls and still have some.
    private var closing: [StreamTable] = []
    /// Calls without a stream, oldest first; those that were given up stay until it is their turn.
    private var waiting = CircularBuffer<Call>()
    private var isConnecting = false
    private var isClosed = false
    /// When the timer of all calls' deadlines goes off next.
    private var nextSweep = NIODeadline.distantFuture
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
                onLoop {
                    let call = Call(
                        path: path,
                        request: request,
                        metadata: metadata,
                        timeout: timeout,
                        continuation: continuation
                    )
                    cancellation.call = call
                    if cancellation.isCancelled {
                        self.cancel(call)
                    } else {
                        self.begin(call)
                    }
                }
            }
        } onCancel: {
            onLoop {
                cancellation.isCancelled = true
                if let call = cancellation.call { self.cancel(call) }
            }
        }
    }

    /// Closes the connections; calls in flight and later ones fail.
    func close() async {
        let closed = loop.makePromise(of: Void.self)
        loop.execute {
            self.isClosed = true
            for table in self.tables { table.close() }
            self.failWaiting(Self.closedError)
            closed.succeed()
        }
        // The promise is only ever succeeded.
        try? await closed.futureResult.get()
    }

    private func onLoop(_ work: @escaping @Sendable () -> Void) {
        if loop.inEventLoop { work() } else { loop.execute(work) }
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
        call.table?.abandon(call)
    }

    private func begin(_ call: Call) {
        sweep(by: call.deadline)
        if isClosed { return call.finish(.failure(Self.closedError)) }
        guard callsInFlight < configuration.maximumCallsInFlight else {
            let limit =
                "more than \(configuration.maximumCallsInFlight) calls are in flight on this connection"
            return call.finish(.failure(RPCError(code: .resourceExhausted, message: limit)))
        }
        waiting.append(call)
        startWaiting()
    }

    private var callsInFlight: Int {
        if waiting.count >= configuration.maximumCallsInFlight { waiting.removeAll(where: \.isFinished) }
        return tables.reduce(waiting.count) { $0 + $1.callsInFlight }
    }

    /// Starts calls that wait, as far as there are streams.
    private func startWaiting() {
        while let call = waiting.first {
            let table = tables.first(where: \.hasFreeStream)
            guard call.isFinished || table != nil else { return connectIfNeeded() }
            waiting.removeFirst()
            if !call.isFinished { table?.start(call) }
        }
    }

    private func failWaiting(_ error: RPCError) {
        let calls = waiting
        waiting.removeAll()
        for call in calls { call.finish(.failure(error)) }
    }

    /// Sees to it that calls end at `deadline` at the latest.
    ///
    /// One timer does for all: to take a timer of each call back costs NIO a walk through all of them.
    private func sweep(by deadline: NIODeadline) {
        guard deadline < nextSweep else { return }
        nextSweep = deadline
        loop.scheduleTask(deadline: deadline) { [weak self] in self?.sweep() }
    }

    private func sweep() {
        let now = NIODeadline.now()
        guard now >= nextSweep else { return }
        nextSweep = .distantFuture
        closing.removeAll { $0.callsInFlight == 0 }
        let calls = Array(waiting) + (tables + closing).flatMap(\.calls.values)
        for call in calls where call.deadline <= now { expire(call) }
        let next = calls.lazy.filter { !$0.isFinished }.map(\.deadline).min()
        if let next { sweep(by: max(next, now + .milliseconds(5))) }
    }

    private func expire(_ call: Call) {
        guard !call.isFinished else { return }
        let reason: String
        if let table = call.table {
            table.probe(ifSilentSince: call.started)
            reason = "no answer"
        } else if tables.isEmpty {
            reason = "still connecting"
        } else {
            reason =
                "all streams are in use (connections: \(tables.count), calls: \(callsInFlight)), no free one"
        }
        abandon(call)
        let address = "\(configuration.host):\(configuration.port)"
        call.finish(
            .failure(
                RPCError(
                    code: .deadlineExceeded,
                    message:
                        "\(call.path) at \(address): \(reason) after \(call.timeout.nanoseconds / 1_000_000) ms"
                )
            )
        )
    }

    // MARK: Connecting

    private func connectIfNeeded() {
        guard !isConnecting, !isClosed, tables.count < configuration.maximumConnections else { return }
        isConnecting = true
        let wait = nextAttempt - .now()
        if wait > .zero { loop.scheduleTask(in: wait) { self.connect() } } else { connect() }
    }

    private func connect() {
        guard !isClosed else { return }
        let tls: NIOSSLContext?
        do { tls = try makeTLSContext() } catch {
            // Certificates that cannot be read do not get better by trying again.
            return connectFailed(RPCError(code: .invalidArgument, message: "TLS configuration: \(error)"))
        }
        let table = StreamTable(
            settings: .init(
                authority: "\(configuration.host):\(configuration.port)",
                scheme: tls == nil ? "http" : "https",
                // NIO holds further streams back, also when a server does not say how many it allows.
                maximumStreams: tables.last?.maximumStreams ?? 100,
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
        table.onFreeStream = { [weak self] in self?.startWaiting() }
        table.onIdle = { [weak self, weak table] in
            guard let self, let table else { return }
            closeIfSpare(table)
        }
        let box = NIOLoopBound(table, eventLoop: loop)
        ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(configuration.connectTimeout))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            // What comes fits in one read nearly always; NIO would try another one to see that there is no more.
            .channelOption(.maxMessagesPerRead, value: 1)
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
        isConnecting = false
        guard !isClosed else { return table.close() }
        tables.append(table)
        logger.debug(
            "connected to Temporal",
            metadata: [
                "address": "\(configuration.host):\(configuration.port)", "connections": "\(tables.count)",
            ]
        )
        startWaiting()
    }

    private func connectFailed(_ error: RPCError) {
        isConnecting = false
        backOff()
        // With another connection there is hope for a free stream.
        if tables.isEmpty { failWaiting(error) } else if !waiting.isEmpty { connectIfNeeded() }
    }

    private func lost(_ table: StreamTable, wasReady: Bool) {
        if wasReady { failures = 0 } else { backOff() }
        tables.removeAll { $0 === table }
        if table.callsInFlight > 0 { closing.append(table) }
        if !waiting.isEmpty { connectIfNeeded() }
    }

    /// Closes a connection that has had nothing to do for a while, unless it is the only one.
    private func closeIfSpare(_ table: StreamTable) {
        guard let first = tables.first, first !== table else { return }
        tables.removeAll { $0 === table }
        table.close()
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
        // What comes for a call that was given up must not be taken for an error: many may be at once.
        connection.maximumRecentlyResetStreams = 1_000
        // The calls read the few headers that they need, and the server checks ours.
        connection.headerBlockValidation = .disabled
        connection.contentLengthValidation = .disabled
        return NIOHTTP2Handler(
            mode: .client,
            frameDelegate: nil,
            connectionConfiguration: connection,
            streamConfiguration: stream
        )
    }
}
