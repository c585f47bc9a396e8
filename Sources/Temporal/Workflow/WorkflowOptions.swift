import SwiftProtobuf
import TemporalAPI

/// How an activity is run.
///
/// Temporal wants a limit of ``startToClose`` or of ``scheduleToClose``.
public struct ActivityOptions: Sendable {
    /// How long one attempt may take.
    public var startToClose: Duration?
    /// How long all attempts together may take, from the moment the workflow asks.
    public var scheduleToClose: Duration?
    /// How long it may wait for a worker.
    public var scheduleToStart: Duration?
    /// An attempt that gives no sign of life for this long is taken for lost.
    public var heartbeat: Duration?
    /// nil for the server's own: as often as the limits allow, waits growing from a second to a hundred.
    public var retryPolicy: RetryPolicy?
    /// nil for the workflow's own task queue.
    public var taskQueue: String?
    public var cancellation: CancellationBehavior
    /// nil for a number.
    public var activityID: String?
    /// Shown by the web interface.
    public var summary: String?
    /// Whether the server may hand it to this worker at once, when that has room.
    public var allowsEagerExecution = true

    public init(
        startToClose: Duration? = .seconds(60),
        scheduleToClose: Duration? = nil,
        scheduleToStart: Duration? = nil,
        heartbeat: Duration? = nil,
        retryPolicy: RetryPolicy? = nil,
        taskQueue: String? = nil,
        cancellation: CancellationBehavior = .tryCancel,
        activityID: String? = nil,
        summary: String? = nil
    ) {
        self.startToClose = startToClose
        self.scheduleToClose = scheduleToClose
        self.scheduleToStart = scheduleToStart
        self.heartbeat = heartbeat
        self.retryPolicy = retryPolicy
        self.taskQueue = taskQueue
        self.cancellation = cancellation
        self.activityID = activityID
        self.summary = summary
    }

    func set(_ attributes: inout APIScheduleActivityTaskCommandAttributes) {
        if let startToClose { attributes.startToCloseTimeout = .init(rounding: startToClose) }
        if let scheduleToClose { attributes.scheduleToCloseTimeout = .init(rounding: scheduleToClose) }
        if let scheduleToStart { attributes.scheduleToStartTimeout = .init(rounding: scheduleToStart) }
        if let heartbeat { attributes.heartbeatTimeout = .init(rounding: heartbeat) }
        if let retryPolicy { attributes.retryPolicy = retryPolicy.message }
        attributes.requestEagerExecution = allowsEagerExecution && taskQueue == nil
    }
}

/// How a local activity is run: in the worker that runs the workflow, within the workflow task.
public struct LocalActivityOptions: Sendable {
    /// How long one attempt may take.
    public var startToClose: Duration
    /// How long all attempts together may take.
    public var scheduleToClose: Duration?
    public var retryPolicy: RetryPolicy
    /// Waits between attempts that are longer than this become timers of the workflow.
    public var localRetryThreshold: Duration
    public var cancellation: CancellationBehavior
    public var activityID: String?

    public init(
        startToClose: Duration = .seconds(10),
        scheduleToClose: Duration? = nil,
        retryPolicy: RetryPolicy = RetryPolicy(),
        localRetryThreshold: Duration = .seconds(60),
        cancellation: CancellationBehavior = .tryCancel,
        activityID: String? = nil
    ) {
        self.startToClose = startToClose
        self.scheduleToClose = scheduleToClose
        self.retryPolicy = retryPolicy
        self.localRetryThreshold = localRetryThreshold
        self.cancellation = cancellation
        self.activityID = activityID
    }
}

/// How a child workflow is run.
public struct ChildWorkflowOptions: Sendable {
    /// nil for a random UUID.
    public var workflowID: String?
    /// nil for the parent's own task queue.
    public var taskQueue: String?
    public var executionTimeout: Duration?
    public var runTimeout: Duration?
    public var taskTimeout: Duration?
    public var retryPolicy: RetryPolicy?
    public var parentClosePolicy: ParentClosePolicy
    public var idReusePolicy: WorkflowIDReusePolicy
    public var cronSchedule: String?
    public var memo: Memo?
    public var searchAttributes: SearchAttributes?
    public var cancellation: CancellationBehavior
    public var summary: String?

    public init(
        workflowID: String? = nil,
        taskQueue: String? = nil,
        executionTimeout: Duration? = nil,
        runTimeout: Duration? = nil,
        taskTimeout: Duration? = nil,
        retryPolicy: RetryPolicy? = nil,
        parentClosePolicy: ParentClosePolicy = .terminate,
        idReusePolicy: WorkflowIDReusePolicy = .allowDuplicate,
        cronSchedule: String? = nil,
        memo: Memo? = nil,
        searchAttributes: SearchAttributes? = nil,
        cancellation: CancellationBehavior = .waitUntilCompleted,
        summary: String? = nil
    ) {
        self.workflowID = workflowID
        self.taskQueue = taskQueue
        self.executionTimeout = executionTimeout
        self.runTimeout = runTimeout
        self.taskTimeout = taskTimeout
        self.retryPolicy = retryPolicy
        self.parentClosePolicy = parentClosePolicy
        self.idReusePolicy = idReusePolicy
        self.cronSchedule = cronSchedule
        self.memo = memo
        self.searchAttributes = searchAttributes
        self.cancellation = cancellation
        self.summary = summary
    }

    func set(_ attributes: inout APIStartChildWorkflowExecutionCommandAttributes) {
        if let executionTimeout { attributes.workflowExecutionTimeout = .init(rounding: executionTimeout) }
        if let runTimeout { attributes.workflowRunTimeout = .init(rounding: runTimeout) }
        if let taskTimeout { attributes.workflowTaskTimeout = .init(rounding: taskTimeout) }
        if let retryPolicy { attributes.retryPolicy = retryPolicy.message }
        attributes.parentClosePolicy =
            APIParentClosePolicy(rawValue: parentClosePolicy.rawValue) ?? .unspecified
        attributes.workflowIDReusePolicy =
            APIWorkflowIdReusePolicy(rawValue: idReusePolicy.rawValue) ?? .unspecified
        if let cronSchedule { attributes.cronSchedule = cronSchedule }
        if let memo { attributes.memo.fields = memo.fields }
        if let searchAttributes { attributes.searchAttributes = searchAttributes.message }
    }
}
