import Foundation
import Logging
import SwiftProtobuf
import Synchronization
import TemporalAPI
import Tracing

/// Runs activities that the server hands out, and tells it how they end.
final class ActivityTaskHandler: Sendable {
    private let setup: WorkerSetup
    private let activities: [String: ActivityRegistration]
    private let logger: Logger
    private let running = Mutex<[ObjectIdentifier: ActivityState]>([:])

    init(_ setup: WorkerSetup, activities: [String: ActivityRegistration]) {
        self.setup = setup
        self.activities = activities
        logger = setup.environment.logger
    }

    func has(_ activity: String) -> Bool { activities[activity] != nil }

    /// Cancels the activities that still run: the worker has no more time.
    func cancelAll() {
        for state in running.withLock({ Array($0.values) }) { state.cancel(.workerShutdown) }
    }

    func handle(_ task: APIPollActivityTaskQueueResponse) async {
        let started = ContinuousClock.now
        do {
            let outcome = try await run(task)
            try await report(outcome, of: task)
            setup.metrics.activity(task.activityType.name, took: .now - started, failed: outcome.isFailure)
        } catch let error as RPCError where error.code == .notFound {
            logger.debug("the result of an activity is no longer wanted", metadata: describe(task))
        } catch {
            var metadata = describe(task)
            metadata["error"] = "\(error)"
            logger.warning("the server was not told how an activity ended", metadata: metadata)
        }
    }

    private enum Outcome {
        case completed([APIPayload])
        case failed(APIFailure, lastHeartbeat: [APIPayload]?)
        case canceled([APIPayload])
        /// Someone else completes it, or nobody wants to know.
        case silent

        var isFailure: Bool { if case .failed = self { true } else { false } }
    }

    private func run(_ task: APIPollActivityTaskQueueResponse) async throws -> Outcome {
        let converter = setup.environment.converter
        guard let activity = activities[task.activityType.name] else {
            let error = ApplicationFailure.unknown("activity", task.activityType.name, activities.keys)
            return .failed(try await converter.failure(of: error), lastHeartbeat: nil)
        }
        var task = task
        task.input.payloads = try await converter.decode(task.input.payloads)
        task.heartbeatDetails.payloads = try await converter.decode(task.heartbeatDetails.payloads)
        let info = ActivityInfo(
            task,
            namespace: setup.environment.namespace,
            taskQueue: setup.environment.taskQueue
        )
        let state = makeState(task, info)
        running.withLock { $0[ObjectIdentifier(state)] = state }
        defer { running.withLock { $0[ObjectIdentifier(state)] = nil } }
        let context = ActivityContext(info: info, workerLogger: logger, state: state)
        let input = task.input.payloads
        let result = await withSpan(
            "RunActivity:\(info.activityType)",
            context: TraceHeader.context(from: task.header)
        ) { span in
            span.attributes["temporalWorkflowID"] = info.workflowID
            span.attributes["temporalActivityID"] = info.activityID
            let result = await state.run { try await activity.body(context, input, converter.payloads) }
            if case .failure(let error) = result { span.recordError(error) }
            return result
        }
        let unsent = await state.heartbeater?.end()
        switch result {
        case .success(let value): return .completed(try await converter.encode([value]))
        case .failure(let error): return try await outcome(of: error, context, lastHeartbeat: unsent)
        }
    }

    private func makeState(_ task: APIPollActivityTaskQueueResponse, _ info: ActivityInfo) -> ActivityState {
        let interval = Heartbeater.interval(
            timeout: info.heartbeatTimeout,
            default: setup.options.defaultHeartbeatThrottleInterval,
            maximum: setup.options.maxHeartbeatThrottleInterval
        )
        let token = task.taskToken
        let reference = Mutex<ActivityState?>(nil)
        let heartbeater = Heartbeater(interval: interval) { [weak self] details in
            guard let self, let state = reference.withLock({ $0 }) else { return }
            await self.beat(token, details, state)
        }
        let state = ActivityState(converter: setup.environment.converter, heartbeater: heartbeater)
        reference.withLock { $0 = state }
        return state
    }

    private func beat(_ token: Data, _ details: [APIPayload], _ state: ActivityState) async {
        do {
            let encoded = try await setup.environment.converter.encode(details)
            let request = APIRecordActivityTaskHeartbeatRequest.with {
                $0.identity = setup.identity
                $0.taskToken = token
                if !encoded.isEmpty { $0.details = APIPayloads(encoded) }
            }
            let response = try await setup.connection.call(request)
            if response.cancelRequested { state.cancel(.requested) }
            if response.activityPaused { state.cancel(.paused) }
            if response.activityReset { state.cancel(.reset) }
        } catch let error as RPCError where error.code == .notFound {
            state.cancel(.notFound)
        } catch  where !(error is CancellationError) {
            logger.warning("a heartbeat did not arrive", metadata: ["error": "\(error)"])
        } catch {}
    }

    private func outcome(
        of error: any Error,
        _ context: ActivityContext,
        lastHeartbeat: [APIPayload]?
    ) async throws -> Outcome {
        if error is CompletesLater { return .silent }
        let converter = setup.environment.converter
        if error.isCancellation {
            switch context.cancellationReason {
            case .notFound: return .silent
            case .requested:
                let details = (error as? CanceledFailure)?.details.payloads ?? []
                return .canceled(try await converter.encode(details))
            case .workerShutdown:
                let failure = ApplicationFailure("the worker stops", type: "WorkerShutdown")
                return .failed(try await converter.failure(of: failure), lastHeartbeat: lastHeartbeat)
            default: break
            }
        }
        context.logger.warning("activity failed", metadata: ["error": "\(error)"])
        let encoded: [APIPayload]?
        if let lastHeartbeat { encoded = try await converter.encode(lastHeartbeat) } else { encoded = nil }
        return .failed(try await converter.failure(of: error), lastHeartbeat: encoded)
    }

    private func report(_ outcome: Outcome, of task: APIPollActivityTaskQueueResponse) async throws {
        switch outcome {
        case .completed(let payloads):
            try await report(
                APIRespondActivityTaskCompletedRequest.with { $0.result = APIPayloads(payloads) },
                of: task
            )
        case .failed(let failure, let lastHeartbeat):
            try await report(
                APIRespondActivityTaskFailedRequest.with {
                    $0.failure = failure
                    if let lastHeartbeat { $0.lastHeartbeatDetails = APIPayloads(lastHeartbeat) }
                },
                of: task
            )
        case .canceled(let details):
            try await report(
                APIRespondActivityTaskCanceledRequest.with {
                    if !details.isEmpty { $0.details = APIPayloads(details) }
                },
                of: task
            )
        case .silent: return
        }
    }

    private func report(
        _ request: some RequestByToken,
        of task: APIPollActivityTaskQueueResponse
    ) async throws {
        var request = request
        request.taskToken = task.taskToken
        request.identity = setup.identity
        _ = try await setup.connection.call(request, timeout: .seconds(60))
    }

    private func describe(_ task: APIPollActivityTaskQueueResponse) -> Logger.Metadata {
        [
            "activity_type": "\(task.activityType.name)", "activity_id": "\(task.activityID)",
            "workflow_id": "\(task.workflowExecution.workflowID)", "attempt": "\(task.attempt)",
        ]
    }
}

/// Activities that the server may hand out with its answer to a workflow task, without a poll.
final class EagerActivities: Sendable {
    private let handler: ActivityTaskHandler
    private let slots: Slots
    private let taskQueue: String
    private let feed: @Sendable (APIPollActivityTaskQueueResponse) -> Void
    /// As many as Core asks for in one answer.
    private static let maximum = 3

    init(
        _ handler: ActivityTaskHandler,
        slots: Slots,
        taskQueue: String,
        feed: @escaping @Sendable (APIPollActivityTaskQueueResponse) -> Void
    ) {
        self.handler = handler
        self.slots = slots
        self.taskQueue = taskQueue
        self.feed = feed
    }

    /// Takes places for activities among the commands, and marks those that found one.
    ///
    /// The others must not be marked: the server would take them for handed out.
    static func reserve(_ commands: inout [APICommand], _ eager: EagerActivities?) -> Int {
        var reserved = 0
        for index in commands.indices where commands[index].commandType == .scheduleActivityTask {
            let attributes = commands[index].scheduleActivityTaskCommandAttributes
            guard attributes.requestEagerExecution else { continue }
            if let eager, reserved < maximum, attributes.taskQueue.name == eager.taskQueue,
                eager.handler.has(attributes.activityType.name), eager.slots.tryAcquire()
            {
                reserved += 1
            } else {
                commands[index].scheduleActivityTaskCommandAttributes.requestEagerExecution = false
            }
        }
        return reserved
    }

    /// Starts what the server handed out, in the places that were reserved, and gives the others back.
    func start(_ tasks: [APIPollActivityTaskQueueResponse], reserved: Int) {
        let tasks = tasks.filter { !$0.taskToken.isEmpty }
        for task in tasks { feed(task) }
        for _ in tasks.count..<max(tasks.count, reserved) { slots.release() }
    }
}
