package import ClusterContract
import Control
package import Temporal

import Foundation
import Logging

/// The workflow `host/<id>`: a host's session, and what follows when it ends.
///
/// ```
///              register                         no sign of life
///   waiting ─────────────► session on the host ─────────────────► lease watched
///      ▲                     ▲     │ leave                          │      │
///      │                     │     ▼                                │      │ not renewed: revoked, waited out
///      │                     │   away: comes back, or as lost       │      ▼
///      │                     └──────────────────────────────────────┘    the slicer is told: failover
///      │                            it is being renewed                    │
///      └───────────────────────────────────────────────────────────────────┘
/// ```
/// A host that is cut off from Temporal alone goes on renewing its lease in the store, so nothing is taken from it.
package actor HostWorkflow: Workflow {
    package static let name = HostWorkflowContract.name

    /// From the slicer: nothing is left on the host.
    static let drained = SignalDefinition<Nothing>("drained")
    /// From the slicer: the host is given work again.
    static let undrained = SignalDefinition<Nothing>("undrained")
    package static let memory = QueryDefinition<Nothing, HostWorkflowMemory>("memory")

    package nonisolated let context: WorkflowContext
    private var host: HostID?
    private var registration: HostRegistration?
    private var isDrained = false
    private var isOnline = false
    private var leaving: String?
    /// The highest term of the host's lease that is known to be over.
    private var endedTerm = 0
    private var sessions = 0
    private var lastEnded = 0

    package init(context: WorkflowContext) { self.context = context }

    package static func register(_ handlers: inout WorkflowHandlers<HostWorkflow>) {
        handlers.signal(HostWorkflowContract.register) { workflow, registration in
            workflow.receive(registration)
        }
        handlers.signal(HostWorkflowContract.leave) { workflow, leave in
            workflow.leaving = leave.incarnation
        }
        handlers.signal(drained) { workflow, _ in workflow.isDrained = true }
        handlers.signal(undrained) { workflow, _ in workflow.isDrained = false }
        handlers.query(memory) { workflow in
            HostWorkflowMemory(
                registration: workflow.registration,
                isDraining: workflow.isDrained,
                isOnline: workflow.isOnline,
                endedTerm: workflow.endedTerm
            )
        }
    }

    package func run(_ input: HostWorkflowInput) async throws -> Nothing {
        host = input.host
        if let memory = input.memory {
            // A signal may have come before.
            endedTerm = max(endedTerm, memory.endedTerm ?? 0)
            registration = registration ?? memory.registration
            if let held = registration, held.leaseTerm <= endedTerm { registration = nil }
            isOnline = memory.isOnline
            isDrained = isDrained || memory.isDraining
        }
        while true {
            try await waitUntil { $0.registration != nil || $0.shouldContinueAsNew }
            if shouldContinueAsNew {
                try await context.allHandlersFinished()
                let memory = HostWorkflowMemory(
                    registration: registration,
                    isDraining: isDrained,
                    isOnline: isOnline,
                    endedTerm: endedTerm
                )
                try context.continueAsNew(HostWorkflowInput(host: input.host, memory: memory))
            }
            guard let registration else { continue }
            try await session(registration)
        }
    }

    private var shouldContinueAsNew: Bool {
        context.isContinueAsNewSuggested || context.historyLength > 500
    }

    /// Takes a registration, unless its lease is over.
    ///
    /// With a session, the host's signs of life would let it serve again beside the hosts that have its apps. It has not
    /// heard of the end because it does not reach the store; once it does, it takes a new lease and registers with that.
    private func receive(_ registration: HostRegistration) {
        guard registration.leaseTerm > endedTerm else { return }
        // Started anew, it is given work again.
        if let earlier = self.registration, earlier.incarnation != registration.incarnation {
            isDrained = false
        }
        self.registration = registration
        leaving = nil
    }

    /// A host that registers again with a new lease begins anew, also when it is the same process.
    private func isCurrent(_ registration: HostRegistration) -> Bool {
        self.registration?.incarnation == registration.incarnation
            && self.registration?.leaseTerm == registration.leaseTerm
    }

    // MARK: - A session

    private func session(_ registration: HostRegistration) async throws {
        // Told again after a continuation: the slicer may have missed nothing, and telling changes nothing then.
        try await tellSlicer(SlicerWorkflow.hostOnline, registration)
        isOnline = true
        let order = SessionOrder(
            host: registration.host,
            incarnation: registration.incarnation,
            lease: registration.lease
        )
        let activity = context.task {
            try await self.context.activity(
                HostActivities.session,
                order,
                options: ActivityOptions(
                    startToClose: .seconds(24 * 3600),
                    scheduleToStart: .seconds(10),
                    heartbeat: .milliseconds(registration.lease.heartbeatMilliseconds),
                    retryPolicy: RetryPolicy(maximumAttempts: 1),
                    taskQueue: ClusterNames.queue(of: registration.host)
                )
            )
        }
        sessions += 1
        let number = sessions
        let watch = context.task {
            // However it ends: what the lease says counts.
            _ = try? await activity.value
            await self.ended(number)
        }
        try await waitUntil { workflow in
            workflow.lastEnded >= number || !workflow.isCurrent(registration)
                || workflow.leaving == registration.incarnation
        }
        if lastEnded < number {
            activity.cancel()
            watch.cancel()
        }
        guard isCurrent(registration) else { return }
        if leaving == registration.incarnation { return try await leave(registration) }
        try await watchLease(registration)
    }

    private func ended(_ number: Int) { lastEnded = max(lastEnded, number) }

    /// The host stops on purpose: with nothing on it, it is gone; else it is given time to come back.
    private func leave(_ registration: HostRegistration) async throws {
        // A host that is stopped as soon as it is empty may have been heard of sooner than that it is empty.
        let isKnown = try await waitUntil(timeout: HostTiming.absence) {
            $0.isDrained || !$0.isCurrent(registration)
        }
        guard isCurrent(registration) else { return }
        guard isKnown else { return try await watchLease(registration) }
        self.registration = nil
        isOnline = false
        isDrained = false
        try await tellSlicer(SlicerWorkflow.hostLeft, HostLeft(host: registration.host))
    }

    private func watchLease(_ registration: HostRegistration) async throws {
        let watch = LeaseWatch(
            host: registration.host,
            term: registration.leaseTerm,
            leaseMilliseconds: registration.lease.leaseMilliseconds
        )
        let outcome = try await context.activity(
            ControlActivities.endLease,
            watch,
            options: ActivityOptions(
                startToClose: .milliseconds(registration.lease.leaseMilliseconds * 5 + 30_000),
                heartbeat: .seconds(10),
                retryPolicy: RetryPolicy(initialInterval: .milliseconds(500), maximumInterval: .seconds(5))
            )
        )
        switch outcome {
        case .renewed:
            guard isCurrent(registration) else { return }
            // Cut off from Temporal alone. The next session waits for it.
            return try await context.sleep(for: .seconds(1))
        case .over(let term):
            endedTerm = max(endedTerm, term, registration.leaseTerm)
            // The host may have come with a newer lease in the meantime, and that one may be what was ended.
            guard let present = self.registration, present.leaseTerm <= endedTerm else { return }
            self.registration = nil
            isOnline = false
            try await tellSlicer(
                SlicerWorkflow.hostLost,
                EndedLease(host: registration.host, term: endedTerm)
            )
        }
    }

    private func tellSlicer<Input: Sendable>(_ signal: SignalDefinition<Input>, _ input: Input) async throws {
        while true {
            do {
                return try await context.workflow(id: ClusterNames.slicer).signal(signal, input)
            } catch let error as any TemporalFailure {
                context.logger.warning("the slicer cannot be told", metadata: ["error": "\(error)"])
                try await context.sleep(for: .seconds(1))
            }
        }
    }
}

enum HostTiming {
    /// How long a host that was stopped on purpose may be away before its apps go to others.
    static let absence = Duration.seconds(30)
}
