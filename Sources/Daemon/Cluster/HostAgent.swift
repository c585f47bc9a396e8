import ClusterContract
public import Control
import Foundation
public import Logging
public import ServiceLifecycle
import Storage
import Synchronization
public import Temporal

/// A host's worker in Temporal: it takes orders on the queue `host-<id>`, keeps the host's session, and says who the host
/// is when it starts.
///
/// ```
///   start: lease, residents ──► signal `register` of host/<id> ──► activity `session` on this host ─┐
///                                     ▲          the session is over, the host is not               │
///                                     └─────────────────────────────────────────────────────────────┘
///   stop:  signal `leave`
/// ```
public final class HostAgent: Service {
    let daemon: HostDaemon
    let configuration: Configuration
    let client: TemporalClient
    /// Tells this process from an earlier one of the same host.
    let incarnation = UUID().uuidString.lowercased()
    let desk: OrderDesk
    let logger: Logger
    private let session = Mutex(SessionState())

    /// What the host says of itself.
    public struct Configuration: Sendable {
        public var host: HostID
        public var peer: HostAddress
        public var ingress: HostAddress
        /// Where control reaches the host's API.
        public var api: String
        /// Microseconds of CPU time in a second.
        public var capacity: Int
        public var lease: LeaseTerms

        public init(
            host: HostID,
            peer: HostAddress,
            ingress: HostAddress,
            api: String,
            capacity: Int,
            lease: LeaseTerms
        ) {
            self.host = host
            self.peer = peer
            self.ingress = ingress
            self.api = api
            self.capacity = capacity
            self.lease = lease
        }
    }

    private struct SessionState {
        var isActive = false
        var endedAt = ContinuousClock.now
        var registeredAt: ContinuousClock.Instant?
    }

    /// `daemon`: started.
    public init(
        _ daemon: HostDaemon,
        _ configuration: Configuration,
        connection: TemporalConnection,
        logger: Logger
    ) {
        self.daemon = daemon
        self.configuration = configuration
        client = TemporalClient(connection: connection)
        desk = OrderDesk(host: configuration.host)
        self.logger = logger
    }

    /// Takes orders until a graceful shutdown or until the task is cancelled.
    public func run() async throws {
        await daemon.useRoutes { [client] in
            let slicer: WorkflowHandle<Nothing> = client.handle(id: ClusterNames.slicer)
            return try await slicer.query(SlicerContract.table)
        }
        var options = WorkerOptions()
        options.identity = "host-\(configuration.host)-\(incarnation.prefix(8))"
        options.maxConcurrentActivityTaskPollers = 4
        options.workerStopTimeout = .seconds(5)
        // Orders are given up after a few seconds without a sign of life: one each second leaves time for late ones.
        options.maxHeartbeatThrottleInterval = .seconds(1)
        let worker = Temporal.Worker(
            connection: client.connection,
            taskQueue: ClusterNames.queue(of: configuration.host),
            activities: registrations,
            options: options,
            logger: logger
        )
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do { try await worker.run() } catch {
                    self.logger.error("orders are not taken any more", metadata: ["error": "\(error)"])
                }
            }
            group.addTask { await cancelWhenGracefulShutdown { await self.keepRegistered() } }
            _ = await group.next()
            // Before the session ends, so that the host counts as away and not as lost.
            await leave()
            group.cancelAll()
        }
    }

    /// All activities; the session's own tells whether its signs of life arrived.
    private var registrations: [ActivityRegistration] {
        HostActivities.registrations(of: self).filter { $0.name != HostActivities.session.name } + [
            ActivityRegistration(HostActivities.session) { context, order in
                // One that takes longer is as good as lost; the next one follows soon.
                var client = self.client
                client.callTimeout = .seconds(3)
                let activity = client.activity(.token(context.info.taskToken))
                do {
                    try await self.keepSession(order) { try await activity.heartbeat(details: [$0]) }
                } catch {
                    throw OrderFailure.failure(from: error)
                }
                return Nothing()
            }
        ]
    }

    // MARK: - The session

    /// Gives signs of life every second, or more often where the terms are shorter.
    ///
    /// One that arrived counts like a renewal of the lease: who would revoke it has just heard of the host.
    private func keepSession(
        _ order: SessionOrder,
        _ beat: (SessionBeat) async throws -> Bool
    ) async throws {
        guard order.incarnation == incarnation else {
            throw MartletError(
                .staleOrder,
                "host \(configuration.host) has been started anew since this session was asked for"
            )
        }
        session.withLock { $0.isActive = true }
        defer {
            session.withLock {
                $0.isActive = false
                $0.endedAt = .now
            }
        }
        let pause = Duration.milliseconds(min(1000, max(order.lease.heartbeatMilliseconds / 4, 50)))
        while true {
            try Task.checkCancellation()
            let sent = ContinuousClock.now
            do {
                if try await beat(await daemon.beat()) { throw CancellationError() }
                daemon.confirmLease(sentAt: sent)
            } catch let error as RPCError where error.code == .notFound {
                // The session is over for the workflow: the host registers again.
                return
            } catch let error as RPCError {
                logger.warning("a sign of life did not arrive", metadata: ["error": "\(error)"])
            }
            try await Task.sleep(for: pause)
        }
    }

    /// Says who the host is, again and again while it has no session.
    private func keepRegistered() async {
        var pause = Duration.milliseconds(200)
        while !Task.isCancelled {
            if isRegistrationDue {
                do {
                    try await register()
                    pause = .milliseconds(200)
                } catch {
                    if Task.isCancelled { return }
                    logger.warning("the host is not registered", metadata: ["error": "\(error)"])
                    pause = min(pause * 2, .seconds(5))
                }
            }
            // Cancelled only when the host stops.
            try? await Task.sleep(for: pause)
        }
    }

    /// The workflow may take a while to begin the session.
    private var isRegistrationDue: Bool {
        session.withLock { state in
            guard !state.isActive else { return false }
            let last = max(state.endedAt, state.registeredAt ?? state.endedAt)
            return state.registeredAt == nil || ContinuousClock.now - last > .seconds(5)
        }
    }

    private func register() async throws {
        guard let term = await daemon.leaseTerm() else {
            throw MartletError(.unavailable, "the host has no lease yet; is the object store reachable?")
        }
        let registration = HostRegistration(
            host: configuration.host,
            incarnation: incarnation,
            peer: configuration.peer,
            api: configuration.api,
            ingress: configuration.ingress,
            capacity: configuration.capacity,
            leaseTerm: term,
            lease: configuration.lease,
            residents: try await daemon.residents()
        )
        _ = try await client.signalWithStart(
            HostWorkflowContract.self,
            input: HostWorkflowInput(host: configuration.host),
            options: StartWorkflowOptions(
                id: ClusterNames.workflow(of: configuration.host),
                taskQueue: ClusterNames.controlQueue
            ),
            signal: HostWorkflowContract.register,
            signalInput: registration
        )
        session.withLock { $0.registeredAt = .now }
        logger.info("the host is registered", metadata: ["host": "\(configuration.host)"])
    }

    /// Tells that the host stops on purpose; not more than a few seconds are spent on it.
    private func leave() async {
        var client = client
        client.callTimeout = .seconds(3)
        let workflow: WorkflowHandle<Nothing> = client.handle(
            id: ClusterNames.workflow(of: configuration.host)
        )
        do {
            // Its own task: the host's may be cancelled already, and the call has a deadline.
            let leave = HostLeave(incarnation: incarnation)
            try await Task { try await workflow.signal(HostWorkflowContract.leave, input: leave) }.value
        } catch {
            logger.info("control was not told that the host stops", metadata: ["error": "\(error)"])
        }
    }
}
