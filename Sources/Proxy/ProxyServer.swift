import CProxy
import Glibc
import Synchronization

/// A reverse proxy for HTTP/1.1 and WebSockets: threads that accept, route and forward.
///
/// ```swift
/// let app = App(name: "guestbook")
/// let worker = Upstream(app: app, address: .unix(path: "/run/guestbook.sock"))
/// let proxy = try ProxyServer(
///     ProxyConfiguration(listeners: [.init(port: 8080)]),
///     router: NameRouter(["guestbook.localhost": .forward(worker)])
/// )
/// try proxy.start()
/// ```
public final class ProxyServer: Sendable {
    private let configuration: ProxyConfiguration
    private let shared: ProxyShared
    private let loops: [Loop]
    private let state = Mutex(State())

    private struct State {
        var phase = Phase.new
        var addresses: [ProxyAddress] = []
        var runningThreads = 0
        var nextLoop = 0
        var onStopped: [@Sendable () -> Void] = []
    }

    private enum Phase {
        case new
        case started
        case stopping
        case stopped
    }

    /// Makes the loops; nothing listens yet.
    ///
    /// - Throws: ``ProxyError`` when the configuration contradicts itself, or the access log cannot be opened.
    public init(
        _ configuration: ProxyConfiguration,
        router: any Router,
        observer: (any ProxyObserver)? = nil
    ) throws {
        self.configuration = configuration
        for listener in configuration.listeners where cproxy_address_family(listener.address) < 0 {
            throw ProxyError(
                code: .invalidConfiguration,
                message: "listen on \(listener.address): that is not a numeric IPv4 or IPv6 address",
                errorNumber: nil
            )
        }
        guard configuration.loops >= 1, configuration.loops <= 256 else {
            throw ProxyError(
                code: .invalidConfiguration,
                message: "run \(configuration.loops) loops: a proxy has between 1 and 256",
                errorNumber: nil
            )
        }
        let log = try configuration.accessLog.map { try AccessLogWriter($0) }
        let shared = ProxyShared(settings: LoopSettings(configuration), observer: observer, log: log)
        self.shared = shared
        loops = try (0..<configuration.loops).map { _ in try Loop(shared: shared, router: router) }
    }

    /// Listens and begins to serve.
    ///
    /// - Throws: ``ProxyError`` when an address cannot be listened on; then nothing listens.
    public func start() throws {
        cproxy_ignore_sigpipe()
        try state.withLock { state in
            guard state.phase == .new else { return }
            state.addresses = try listen()
            state.phase = .started
            state.runningThreads = loops.count
        }
        if let log = shared.log { startThread { log.run() } }
        for (index, loop) in loops.enumerated() {
            startThread { [self] in
                cproxy_name_thread("proxy-\(index)")
                pin(index)
                loop.run()
                threadEnded()
            }
        }
    }

    /// Where the proxy listens, with the ports that were chosen; in the order of the configuration.
    public var addresses: [ProxyAddress] { state.withLock { $0.addresses } }

    /// Runs until the task is cancelled or ``stop()`` is called; then drains, at most for `grace`.
    public func run(grace: Duration = .seconds(10)) async throws {
        try start()
        await withTaskCancellationHandler {
            await stopped()
        } onCancel: {
            // Cancellation is not async: the drain goes on by itself, and `stopped` ends with it.
            Task { await self.drain(deadline: grace) }
        }
    }

    /// Replaces the router: the requests that come after are asked of the new one.
    ///
    /// Held requests are not asked again; see ``retryHeld(_:)``.
    public func publish(_ router: any Router) {
        for loop in loops { loop.mailbox.send(.route(router)) }
    }

    /// As ``publish(_:)-(any_Router)``, and returns when no loop uses the earlier router any more: from then on,
    /// ``App/activity-swift.property`` counts all that it let through.
    public func publish(_ router: any Router) async {
        for loop in loops { loop.mailbox.send(.route(router)) }
        await synchronize()
    }

    /// Returns when every loop has done what was asked of it before.
    public func synchronize() async {
        for loop in loops {
            await withCheckedContinuation { continuation in
                loop.mailbox.send(.call { continuation.resume() })
            }
        }
    }

    /// Asks the router again for the requests that are held for an app.
    public func retryHeld(_ app: App) {
        for loop in loops { loop.mailbox.send(.retryHeld(app)) }
    }

    /// Answers the requests that are held for an app.
    public func refuseHeld(_ app: App, with answer: ReadyAnswer) {
        for loop in loops { loop.mailbox.send(.refuseHeld(app, answer)) }
    }

    /// Closes the kept-alive connections to an upstream that is about to end.
    public func closeIdleConnections(to upstream: Upstream) {
        for loop in loops { loop.mailbox.send(.closeIdle(upstream)) }
    }

    /// Ends what waits for an upstream that will not answer any more, such as one on a machine that is lost: its
    /// connections may stay open for as long as the machine is silent.
    ///
    /// The router is asked about each request as for any other failure (``UpstreamFailure/lost``, or `refused` where the
    /// connection was not made yet); an answer that has begun is cut, and tunnels end.
    public func giveUp(_ upstream: Upstream) {
        for loop in loops { loop.mailbox.send(.giveUp(upstream)) }
    }

    /// Ends the tunnels of an app.
    public func endTunnels(of app: App) {
        for loop in loops { loop.mailbox.send(.endTunnels(app)) }
    }

    /// Takes over a connection that was accepted elsewhere, for example by TLS in front of it.
    ///
    /// The descriptor belongs to the proxy from then on.
    ///
    /// `peers`: the client must be a proxy of this group.
    public func adopt(
        descriptor: Int32,
        client: String,
        port: UInt16,
        isSecure: Bool,
        peers: PeerGroup? = nil
    ) {
        let loop = state.withLock { state in
            state.nextLoop = (state.nextLoop + 1) % loops.count
            return loops[state.nextLoop]
        }
        let connection = AdoptedConnection(
            descriptor: descriptor,
            client: client,
            port: port,
            isSecure: isSecure,
            peers: peers
        )
        loop.mailbox.send(.adopt(connection))
    }

    /// The proxy's numbers at this moment.
    public var metrics: ProxyMetrics {
        var metrics = ProxyMetrics()
        metrics.openConnections = shared.openConnections.load(ordering: .relaxed)
        metrics.heldBytes = shared.heldBytes.load(ordering: .relaxed)
        metrics.acceptedConnections = shared.acceptedConnections.load(ordering: .relaxed)
        metrics.refusedConnections = shared.refusedConnections.load(ordering: .relaxed)
        metrics.refusedRequests = shared.refusedRequests.load(ordering: .relaxed)
        metrics.unknownNames = shared.unknownNames.load(ordering: .relaxed)
        metrics.accessLogLines = shared.log?.writtenLines ?? 0
        metrics.accessLogDropped = shared.log?.droppedLines ?? 0
        metrics.apps = shared.allCells.compactMap { cells in cells.first.map { AppMetrics($0.app, cells) } }
        metrics.apps.sort { $0.name < $1.name }
        return metrics
    }

    /// Drops an app's numbers, once it has been deleted.
    public func forget(_ app: App) { shared.forget(app) }

    /// Stops accepting, closes idle connections, lets running requests finish, and stops; what still runs at the
    /// deadline is cut.
    public func drain(deadline: Duration) async {
        for loop in loops { loop.mailbox.send(.drain) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [loops] in
                for loop in loops {
                    await withCheckedContinuation { continuation in
                        loop.mailbox.send(.whenDrained { continuation.resume() })
                    }
                }
            }
            group.addTask {
                // Woken by cancellation when the drain is done.
                try? await Task.sleep(for: deadline)
            }
            await group.next()
            group.cancelAll()
            // Ends what is left, and with it the wait for it.
            stop()
        }
        await stopped()
    }

    /// Cuts everything and ends the threads.
    ///
    /// Returns at once; see ``stopped()``.
    public func stop() {
        let isNew = state.withLock { state in
            let isNew = state.phase == .new
            if state.phase == .started { state.phase = .stopping }
            if isNew { state.phase = .stopped }
            return isNew
        }
        if isNew {
            shared.log?.close()
            return
        }
        for loop in loops { loop.mailbox.send(.stop) }
    }

    /// Returns when all threads have ended.
    public func stopped() async {
        await withCheckedContinuation { continuation in
            let isStopped = state.withLock { state in
                if state.phase != .stopped { state.onStopped.append { continuation.resume() } }
                return state.phase == .stopped
            }
            if isStopped { continuation.resume() }
        }
    }

    private func threadEnded() {
        let waiting: [@Sendable () -> Void] = state.withLock { state in
            state.runningThreads -= 1
            guard state.runningThreads == 0 else { return [] }
            state.phase = .stopped
            let waiting = state.onStopped
            state.onStopped = []
            return waiting
        }
        if state.withLock({ $0.phase == .stopped }) { shared.log?.close() }
        waiting.forEach { $0() }
    }

    private func pin(_ index: Int) {
        guard !configuration.processors.isEmpty else { return }
        cproxy_pin_thread(Int32(configuration.processors[index % configuration.processors.count]))
    }

    /// One socket for each loop, so that the kernel spreads connections and no lock is shared.
    private func listen() throws -> [ProxyAddress] {
        var addresses: [ProxyAddress] = []
        var opened: [(Loop, Loop.ListenerSocket)] = []
        do {
            for listener in configuration.listeners {
                var port = listener.port
                if loops.count > 1 {
                    // With SO_REUSEPORT a second server on the port would go unnoticed: this one would not.
                    cproxy_close(try open(listener, &port, reusesPort: false))
                }
                for loop in loops {
                    let descriptor = try open(listener, &port, reusesPort: loops.count > 1)
                    opened.append(
                        (loop, Loop.ListenerSocket(descriptor: descriptor, configuration: listener))
                    )
                }
                addresses.append(ProxyAddress(address: listener.address, port: port))
            }
        } catch {
            for (_, socket) in opened { cproxy_close(socket.descriptor) }
            throw error
        }
        for (loop, socket) in opened { loop.add(socket) }
        return addresses
    }

    private func open(
        _ listener: ProxyConfiguration.Listener,
        _ port: inout UInt16,
        reusesPort: Bool
    ) throws -> Int32 {
        let isV6 = cproxy_address_family(listener.address) == 1
        let descriptor = cproxy_listen_tcp(listener.address, isV6 ? 1 : 0, &port, reusesPort ? 1 : 0, 4096)
        guard descriptor < 0 else {
            probe(descriptor, silence: shared.settings.clientSilence)
            return descriptor
        }
        let place = isV6 ? "[\(listener.address)]:\(port)" : "\(listener.address):\(port)"
        let (code, advice): (ProxyError.Code, String) =
            switch -descriptor {
            case EADDRINUSE: (.addressInUse, "another program listens there; stop it or choose another port")
            case EACCES: (.notPermitted, "ports below 1024 need a privilege; choose a higher one")
            case EADDRNOTAVAIL: (.invalidConfiguration, "this machine has no such address")
            default: (.system, "see the system's limits")
            }
        throw ProxyError(
            code: code,
            message: "listen on \(place): \(errorText(-descriptor)); \(advice)",
            errorNumber: -descriptor
        )
    }
}

/// An address that the proxy listens on.
public struct ProxyAddress: Sendable, Equatable, CustomStringConvertible {
    public var address: String
    public var port: UInt16

    public init(address: String, port: UInt16) {
        self.address = address
        self.port = port
    }

    public var description: String { address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }
}

/// Starts a thread that runs `body` and ends.
func startThread(_ body: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let box = Unmanaged.passRetained(ThreadBody(body))
    let result = pthread_create(
        &thread,
        nil,
        { argument in
            guard let argument else { return nil }
            Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run()
            return nil
        },
        box.toOpaque()
    )
    if result == 0 {
        pthread_detach(thread)
    } else {
        // The system has no more threads: better here and now than not at all.
        box.release()
        body()
    }
}

private final class ThreadBody {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
