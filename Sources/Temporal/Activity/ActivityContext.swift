public import Foundation
public import Logging
import SwiftProtobuf
import Synchronization
import TemporalAPI

/// What an activity knows of itself and of its caller, and its way to give signs of life.
public struct ActivityContext: Sendable {
    /// Why an activity's task was cancelled.
    public enum CancellationReason: Sendable, Hashable {
        /// The workflow asked for it.
        case requested
        /// The workflow is gone, or the attempt has timed out: nobody waits for the result.
        case notFound
        /// The worker stops, and the time to finish is over.
        case workerShutdown
        /// Someone paused or reset the activity.
        case paused, reset
        /// A local activity's time is over.
        case timedOut
    }

    public let info: ActivityInfo
    /// Says which activity it speaks of.
    public var logger: Logger { workerLogger.activity(info) }
    let workerLogger: Logger
    let state: ActivityState

    /// Why the activity's task was cancelled; nil while it isn't.
    public var cancellationReason: CancellationReason? { state.reason.withLock { $0 } }

    /// Says that the activity is alive, and how far it is.
    ///
    /// Cheap: what is said faster than the server needs to hear it is kept back, the latest last. The details are given
    /// to the next attempt, as ``heartbeatDetails(as:)``.
    public func heartbeat(_ details: some Encodable & Sendable) throws {
        let payloads = try state.converter.payloads.encode(argument: details)
        state.heartbeater?.beat(payloads)
    }

    public func heartbeat() {
        state.heartbeater?.beat([])
    }

    /// What the attempt before this one said last; nil when it said nothing.
    public func heartbeatDetails<Value: Decodable & Sendable>(
        as type: Value.Type = Value.self
    ) throws -> Value? {
        guard !info.heartbeatDetails.isEmpty else { return nil }
        return try state.converter.payloads.decode(argument: info.heartbeatDetails.map(\.payload))
    }

    /// Throws what ends the activity here without ending it for the workflow: someone completes it later, by
    /// ``ActivityInfo/taskToken`` or by its identifiers.
    public func completeLater() throws -> Never {
        throw CompletesLater()
    }
}

struct CompletesLater: Error {}

/// Facts about one attempt of an activity.
public struct ActivityInfo: Sendable {
    public let activityID: String
    public let activityType: String
    public let workflowID: String
    public let runID: String
    public let workflowType: String
    public let namespace: String
    public let taskQueue: String
    /// 1 for the first.
    public let attempt: Int
    /// When the workflow asked for the activity.
    public let scheduled: Date
    public let started: Date
    public let startToClose: Duration?
    public let scheduleToClose: Duration?
    public let heartbeatTimeout: Duration?
    public let heartbeatDetails: [RawPayload]
    public let isLocal: Bool
    /// Identifies the attempt to the server, for whoever completes it from elsewhere.
    public let taskToken: Data

    init(_ task: APIPollActivityTaskQueueResponse, namespace: String, taskQueue: String) {
        func duration(_ value: Google_Protobuf_Duration) -> Duration? {
            value.seconds > 0 || value.nanos > 0 ? Duration(value) : nil
        }
        activityID = task.activityID
        activityType = task.activityType.name
        workflowID = task.workflowExecution.workflowID
        runID = task.workflowExecution.runID
        workflowType = task.workflowType.name
        self.namespace = namespace
        self.taskQueue = taskQueue
        attempt = Int(task.attempt)
        scheduled = task.scheduledTime.date
        started = task.startedTime.date
        startToClose = duration(task.startToCloseTimeout)
        scheduleToClose = duration(task.scheduleToCloseTimeout)
        heartbeatTimeout = duration(task.heartbeatTimeout)
        heartbeatDetails = task.heartbeatDetails.payloads.map { RawPayload($0) }
        isLocal = false
        taskToken = task.taskToken
    }

    init(_ request: WorkflowMachine.LocalActivityRequest, attempt: Int, of run: WorkflowRun) {
        activityID = request.activityID
        activityType = request.type
        workflowID = run.workflowID
        runID = run.runID
        workflowType = run.registration.name
        namespace = run.environment.namespace
        taskQueue = run.environment.taskQueue
        self.attempt = attempt
        scheduled = request.originalSchedule
        started = Date()
        startToClose = request.options.startToClose
        scheduleToClose = request.options.scheduleToClose
        heartbeatTimeout = nil
        heartbeatDetails = []
        isLocal = true
        taskToken = Data()
    }
}

/// What an activity's context and the worker share.
final class ActivityState: Sendable {
    let converter: DataConverter
    let heartbeater: Heartbeater?
    let reason = Mutex<ActivityContext.CancellationReason?>(nil)
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(converter: DataConverter, heartbeater: Heartbeater?) {
        self.converter = converter
        self.heartbeater = heartbeater
    }

    func cancel(_ reason: ActivityContext.CancellationReason) {
        self.reason.withLock { $0 = $0 ?? reason }
        task.withLock { $0 }?.cancel()
    }

    /// Runs `body` in a task that ``cancel(_:)`` cancels.
    func run(_ body: @escaping @Sendable () async throws -> APIPayload) async -> Result<APIPayload, any Error>
    {
        let answer = Mutex<Result<APIPayload, any Error>>(.failure(CancellationError()))
        // Not a child task: it is cancelled alone, for reasons that the caller's task doesn't have.
        let task = Task {
            let result: Result<APIPayload, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            answer.withLock { $0 = result }
        }
        self.task.withLock { $0 = task }
        if reason.withLock({ $0 }) != nil { task.cancel() }
        await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            cancel(.workerShutdown)
        }
        self.task.withLock { $0 = nil }
        return answer.withLock { $0 }
    }
}
