import ClusterContract
import Control
package import Temporal

import Foundation
import Logging

/// The workflow `slicer`: one for a cluster, which says where every app belongs.
///
/// ```
/// hosts ─ hostOnline, hostLost, hostLeft ─┐                       ┌─► assign, ended ─► apps
/// apps ── ask, placed, stayed, gone ──────┼─► SlicerState ────────┼─► publish ───────► every host
/// API ─── relocate, drain, undrain ───────┤   (decides)           └─► drained ───────► hosts' workflows
/// timer ─ status of every host ───────────┘
/// ```
/// It only carries messages; ``SlicerState`` decides.
package actor SlicerWorkflow: Workflow {
    package static let name = "Slicer"

    package nonisolated let context: WorkflowContext
    private var state = SlicerState(policy: SlicerPolicy())
    private var timing = ApplicationTiming()
    private var isStarted = false
    private var outbox: [SlicerAction] = []
    private var isSending = 0
    /// What each host was told last, or is being told.
    private var published: [HostID: RouteTable] = [:]
    private var current: RouteTable?
    /// Hosts that are being told something.
    private var publishing: Set<HostID> = []
    private var wantsRound = false
    /// Whether the last round gave anything to other hosts.
    private var hasProgressed = false

    package init(context: WorkflowContext) { self.context = context }

    package static func register(_ handlers: inout WorkflowHandlers<SlicerWorkflow>) {
        handlers.signal(hostOnline) { workflow, registration in
            try await workflow.change { try $0.hostOnline(registration, now: $1) }
            workflow.wantsRound = true
        }
        handlers.signal(hostLost) { workflow, lease in
            try await workflow.change { state, now in
                let actions = state.hostLost(lease, now: now)
                // Nobody serves its slices: they go to others at once.
                try state.round([], now: now)
                return actions
            }
        }
        handlers.signal(hostLeft) { workflow, left in
            try await workflow.change { state, now in
                state.hostLeft(left.host, now: now)
                return []
            }
        }
        handlers.signal(ask) { workflow, app in
            try await workflow.change { state, _ in
                state.ask(app)
                return []
            }
        }
        handlers.signal(placed) { workflow, news in
            try await workflow.change { state, _ in
                state.placed(news.app, on: news.host, epoch: news.epoch, isAwake: news.isAwake)
                return []
            }
        }
        handlers.signal(stayed) { workflow, news in
            try await workflow.change { state, now in
                try state.stayed(news.app, on: news.host, epoch: news.epoch, now: now)
                return []
            }
        }
        handlers.signal(gone) { workflow, app in
            try await workflow.change { state, _ in
                state.gone(app)
                return []
            }
        }
        handlers.update(relocate) { workflow, relocation in
            try await workflow.answered { state, now in
                let decision = try state.relocate(relocation.app, to: relocation.to, now: now)
                return (decision, [.assign(relocation.app, decision)])
            }
        }
        handlers.update(drain) { workflow, host in
            let answer = try await workflow.answered { state, now in
                try state.drain(host, now: now)
                return (Nothing(), [])
            }
            workflow.wantsRound = true
            return answer
        }
        handlers.update(undrain) { workflow, host in
            try await workflow.answered { state, now in
                (Nothing(), try state.undrain(host, now: now))
            }
        }
        handlers.query(SlicerContract.table) { workflow in
            guard let table = workflow.current else {
                throw ApplicationFailure("no host has ever been online", type: "unavailable")
            }
            return table
        }
        handlers.query(hosts) { try $0.state.hostSummaries() }
        handlers.query(slices) { try $0.state.assignmentSummary() }
        handlers.query(residences) { $0.state.residences() }
        handlers.query(residence) { workflow, app in
            workflow.state.residences().first { $0.app == app }
        }
    }

    package func run(_ input: SlicerInput) async throws -> Nothing {
        timing = input.timing
        state = input.state ?? SlicerState(policy: input.policy)
        state.policy = input.policy
        current = try state.routes()
        isStarted = true
        try await settle()
        while true {
            try await waitUntil(timeout: .milliseconds(state.policy.roundMilliseconds)) {
                $0.wantsRound || $0.shouldContinueAsNew
            }
            if shouldContinueAsNew {
                try await waitUntil { $0.outbox.isEmpty && $0.isSending == 0 && $0.publishing.isEmpty }
                try await context.allHandlersFinished()
                guard outbox.isEmpty, isSending == 0, publishing.isEmpty else { continue }
                try context.continueAsNew(
                    SlicerInput(policy: state.policy, timing: timing, state: state)
                )
            }
            wantsRound = false
            let reports = await collect()
            let before = state.slices
            try state.round(reports, now: context.now)
            hasProgressed = state.slices != before
            try await settle()
        }
    }

    // MARK: - Messages

    private var shouldContinueAsNew: Bool {
        context.isContinueAsNewSuggested || context.historyLength > timing.historyEvents
    }

    private func change(_ body: (inout SlicerState, Date) throws -> [SlicerAction]) async throws {
        try await waitUntil { $0.isStarted }
        outbox += try body(&state, context.now)
        try await settle()
    }

    private func change(_ body: (inout SlicerState, Date) throws -> Void) async throws {
        try await change { state, now in
            try body(&state, now)
            return []
        }
    }

    private func answered<Answer>(
        _ body: (inout SlicerState, Date) throws -> (Answer, [SlicerAction])
    ) async throws -> Answer {
        try await waitUntil { $0.isStarted }
        let answer: Answer
        do {
            let (value, actions) = try body(&state, context.now)
            answer = value
            outbox += actions
        } catch { throw OrderFailure.failure(from: error) }
        try await settle()
        return answer
    }

    /// After a change: begins what follows from it, and tells whom it concerns.
    private func settle() async throws {
        outbox += try state.reconcile(now: context.now)
        current = try state.renumber(from: current)
        publish()
        // A drain goes on as fast as its moves do, as long as rounds bring it further.
        if hasProgressed, state.isDraining, state.plannedMoves == 0 { wantsRound = true }
        let actions = outbox
        outbox = []
        guard !actions.isEmpty else { return }
        isSending += 1
        // Beside the caller: an app that cannot be told must not hold the others up.
        context.task { await self.send(actions) }
    }

    private func send(_ actions: [SlicerAction]) async {
        await withTaskGroup(of: Void.self) { group in
            for action in actions { group.addTask { await self.send(action) } }
        }
        isSending -= 1
    }

    private func send(_ action: SlicerAction) async {
        do {
            switch action {
            case .assign(let app, let decision):
                try await context.workflow(id: ClusterNames.workflow(of: app))
                    .signal(ApplicationWorkflow.assign, decision)
            case .ended(let app, let lease):
                try await context.workflow(id: ClusterNames.workflow(of: app))
                    .signal(ApplicationWorkflow.ended, lease)
            case .drained(let host):
                try await context.workflow(id: ClusterNames.workflow(of: host))
                    .signal(HostWorkflow.drained, Nothing())
            case .undrained(let host):
                try await context.workflow(id: ClusterNames.workflow(of: host))
                    .signal(HostWorkflow.undrained, Nothing())
            }
        } catch {
            context.logger.warning("a workflow cannot be told", metadata: ["action": "\(action)"])
            // The app's workflow has ended: there is no such app.
            if case .assign(let app, _) = action { state.gone(app) }
        }
    }

    // MARK: - Hosts

    /// Sends every host what has changed since the last that was sent to it.
    ///
    /// One that does not answer holds up none but itself.
    private func publish() {
        let hosts = reachable
        published = published.filter { hosts.contains($0.key) }
        guard let current else { return }
        for host in hosts
        where !publishing.contains(host) && published[host]?.generation != current.generation {
            publishing.insert(host)
            context.task { await self.publish(to: host) }
        }
    }

    private func publish(to host: HostID) async {
        while let table = current, reachable.contains(host), published[host]?.generation != table.generation {
            let order = PublishOrder(change: table.change(from: published[host] ?? table))
            published[host] = table
            // A host that misses a change gets the whole table by itself.
            _ = try? await context.activity(HostActivities.publish, order, options: Self.briefly(host))
        }
        publishing.remove(host)
    }

    private func collect() async -> [HostReport] {
        await withTaskGroup(of: HostReport?.self) { group in
            for host in reachable {
                group.addTask {
                    // One that does not answer has no report; its session tells whether it is alive.
                    try? await self.context.activity(
                        HostActivities.status,
                        StatusOrder(),
                        options: Self.briefly(host)
                    )
                }
            }
            var reports: [HostReport] = []
            for await report in group { if let report { reports.append(report) } }
            return reports.sorted { $0.host < $1.host }
        }
    }

    private var reachable: [HostID] {
        state.hosts.filter { [.online, .draining, .drained].contains($0.state) }.map(\.id)
    }

    private static func briefly(_ host: HostID) -> ActivityOptions {
        ActivityOptions(
            startToClose: .seconds(10),
            scheduleToStart: .seconds(3),
            retryPolicy: RetryPolicy(maximumAttempts: 1),
            taskQueue: ClusterNames.queue(of: host)
        )
    }
}

/// What the slicer's workflow begins with; a state only when it continues an earlier run.
package struct SlicerInput: Codable, Sendable {
    package var policy: SlicerPolicy
    package var timing: ApplicationTiming
    package var state: SlicerState?

    package init(
        policy: SlicerPolicy = SlicerPolicy(),
        timing: ApplicationTiming = ApplicationTiming(),
        state: SlicerState? = nil
    ) {
        self.policy = policy
        self.timing = timing
        self.state = state
    }
}
