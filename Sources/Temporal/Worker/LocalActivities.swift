import Foundation
import Logging
import Synchronization
import TemporalAPI

/// The end of a workflow task: its local activities run, the workflow goes on with their results, and while that takes
/// long the server is told that the task is still in hand.
struct LocalActivityPhase {
    private enum Event: Sendable {
        case ended(LocalActivityRunner.Ended)
        case heartbeatDue
    }

    let handler: WorkflowTaskHandler
    let run: WorkflowRun
    let task: APIPollWorkflowTaskQueueResponse

    /// - Returns: The run's next task, if the server has one.
    func complete() async throws -> APIPollWorkflowTaskQueueResponse? {
        let (first, _) = run.takeLocalActivities()
        guard !first.isEmpty else { return try await handler.complete(task, run, isHeartbeat: false) }
        let (events, feed) = AsyncStream<Event>.makeStream()
        let running = Mutex<[WorkflowMachine.OperationID: Task<Void, Never>]>([:])
        var outstanding = 0
        let start: ([WorkflowMachine.LocalActivityRequest]) -> Int = { requests in
            for request in requests {
                let runner = handler.localActivities
                // Not a child task: it is cancelled alone, when the workflow gives it up.
                let task = Task { _ = feed.yield(.ended(await runner.run(request, of: run))) }
                running.withLock { $0[request.operation] = task }
            }
            return requests.count
        }
        // Heartbeats go on until the phase ends.
        let clock = Task {
            while !Task.isCancelled {
                try? await Task.sleep(for: heartbeatInterval)
                if !Task.isCancelled { feed.yield(.heartbeatDue) }
            }
        }
        defer {
            clock.cancel()
            for task in running.withLock({ Array($0.values) }) { task.cancel() }
        }
        outstanding += start(first)
        var current = task
        for await event in events {
            switch event {
            case .ended(let ended):
                outstanding -= 1
                running.withLock { $0[ended.request.operation] = nil }
                let run = run
                try await handler.work(run) {
                    try run.resolveLocalActivity(
                        ended.request,
                        attempt: ended.attempt,
                        completed: ended.completed,
                        outcome: ended.outcome
                    )
                }
            case .heartbeatDue:
                guard let next = try await handler.complete(current, run, isHeartbeat: true) else {
                    throw RPCError(
                        code: .aborted,
                        message: "the server gave no new task for one that takes long"
                    )
                }
                current = next
                let run = run
                try await handler.work(run) {
                    try run.process(events: next.history.events, messages: next.messages)
                }
            }
            let (more, cancelled) = run.takeLocalActivities()
            outstanding += start(more)
            for operation in cancelled { running.withLock { $0[operation] }?.cancel() }
            if run.isComplete || outstanding == 0 { break }
        }
        try Task.checkCancellation()
        return try await handler.complete(current, run, isHeartbeat: false)
    }

    /// Most of the task's time, as Core does it.
    private var heartbeatInterval: Duration { (run.started?.taskTimeout ?? .seconds(10)) * 0.8 }
}

/// Runs local activities, with their retries.
final class LocalActivityRunner: Sendable {
    struct Ended: Sendable {
        let request: WorkflowMachine.LocalActivityRequest
        let attempt: Int
        let completed: Date
        let outcome: Result<APIPayloads, WorkflowMachine.LocalFailure>
    }

    private let activities: [String: ActivityRegistration]
    private let environment: WorkflowEnvironment
    private let slots: Slots

    init(_ activities: [String: ActivityRegistration], environment: WorkflowEnvironment, slots: Slots) {
        self.activities = activities
        self.environment = environment
        self.slots = slots
    }

    func run(_ request: WorkflowMachine.LocalActivityRequest, of run: WorkflowRun) async -> Ended {
        let start = ContinuousClock.now
        var attempt = request.attempt
        var outcome: Result<APIPayloads, WorkflowMachine.LocalFailure>
        while true {
            let result = await tryOnce(
                request,
                attempt,
                run,
                deadline: request.options.scheduleToClose.map { start + $0 }
            )
            guard case .failure(let error) = result else {
                outcome = result.map { APIPayloads([$0]) }.mapError { _ in .init(failure: APIFailure()) }
                break
            }
            let failure = environment.converter.failures.failure(
                of: error,
                by: environment.converter.payloads
            )
            outcome = .failure(.init(failure: failure))
            guard !error.isCancellation, let delay = request.options.retryPolicy.delay(after: attempt, error),
                request.options.scheduleToClose.map({ start.duration(to: .now) + delay < $0 }) ?? true
            else { break }
            guard delay <= request.options.localRetryThreshold else {
                outcome = .failure(.init(failure: failure, backoff: delay))
                break
            }
            // Cancelled when the workflow gives it up; the next attempt then ends at once.
            try? await Task.sleep(for: delay)
            attempt += 1
        }
        let took = start.duration(to: .now)
        let seconds = Double(took.components.seconds) + Double(took.components.attoseconds) / 1e18
        return Ended(
            request: request,
            attempt: attempt,
            completed: run.now.addingTimeInterval(seconds),
            outcome: outcome
        )
    }

    private func tryOnce(
        _ request: WorkflowMachine.LocalActivityRequest,
        _ attempt: Int,
        _ run: WorkflowRun,
        deadline: ContinuousClock.Instant?
    ) async -> Result<APIPayload, any Error> {
        guard let activity = activities[request.type] else {
            return .failure(ApplicationFailure.unknown("activity", request.type, activities.keys))
        }
        do { try await slots.acquire() } catch { return .failure(error) }
        defer { slots.release() }
        let state = ActivityState(converter: environment.converter, heartbeater: nil)
        let info = ActivityInfo(request, attempt: attempt, of: run)
        let context = ActivityContext(info: info, workerLogger: environment.logger, state: state)
        let limit = min(
            request.options.startToClose,
            deadline.map { ContinuousClock.now.duration(to: $0) } ?? .seconds(1 << 40)
        )
        // Ends with the attempt.
        let watch = Task {
            try await Task.sleep(for: limit)
            state.cancel(.timedOut)
        }
        defer { watch.cancel() }
        let converter = environment.converter.payloads
        let result = await state.run { try await activity.body(context, request.input.payloads, converter) }
        if case .failure = result, context.cancellationReason == .timedOut {
            return .failure(
                TimeoutFailure(message: "local activity \(request.type) took too long", kind: .startToClose)
            )
        }
        if case .failure = result, Task.isCancelled { return .failure(CanceledFailure()) }
        return result
    }
}

extension RetryPolicy {
    /// How long to wait after a failed attempt; nil when it was the last.
    func delay(after attempt: Int, _ error: any Error) -> Duration? {
        if maximumAttempts > 0, attempt >= maximumAttempts { return nil }
        let failure = error as? ApplicationFailure
        if let failure, failure.isNonRetryable { return nil }
        let type = failure?.type ?? "\(Swift.type(of: error))"
        if nonRetryableErrorTypes.contains(type) { return nil }
        if let delay = failure?.nextRetryDelay { return delay }
        var delay = initialInterval
        let limit = maximumInterval ?? initialInterval * 100
        for _ in 1..<max(attempt, 1) where delay < limit { delay = delay * backoffCoefficient }
        return min(delay, limit)
    }
}

extension Logger {
    func activity(_ info: ActivityInfo) -> Logger {
        var logger = self
        logger[metadataKey: "activity_type"] = "\(info.activityType)"
        logger[metadataKey: "activity_id"] = "\(info.activityID)"
        logger[metadataKey: "workflow_id"] = "\(info.workflowID)"
        logger[metadataKey: "run_id"] = "\(info.runID)"
        logger[metadataKey: "attempt"] = "\(info.attempt)"
        return logger
    }
}
