/// How a worker works.
///
/// The names and meanings are those of Temporal's Go SDK.
public struct WorkerOptions: Sendable {
    /// How many workflow tasks may be worked on at a time.
    public var maxConcurrentWorkflowTaskExecutionSize = 100
    /// How many activities may run at a time.
    public var maxConcurrentActivityExecutionSize = 200
    /// How many local activities may run at a time.
    public var maxConcurrentLocalActivityExecutionSize = 200
    /// How many calls wait for workflow tasks at a time; one of two waits on the worker's sticky queue.
    public var maxConcurrentWorkflowTaskPollers = 4
    /// How many calls wait for activities at a time.
    public var maxConcurrentActivityTaskPollers = 4
    /// How many threads run workflow code; more are started when some are stuck.
    public var workflowThreads = 2
    /// How many activities this worker may start in a second; nil for no limit.
    public var workerActivitiesPerSecond: Double?
    /// How many activities all workers of the task queue may start in a second; the server sees to it.
    public var taskQueueActivitiesPerSecond: Double?
    /// Workflow code that keeps its thread for longer fails its workflow task.
    public var deadlockDetectionTimeout: Duration = .seconds(2)
    /// How many runs stay in memory between their tasks; 0 for none.
    public var stickyWorkflowCacheSize = 1000
    /// How long a workflow task waits for the worker that has the run in memory before any other may take it.
    public var stickyScheduleToStartTimeout: Duration = .seconds(5)
    /// By which name events in histories call this worker; nil for the connection's.
    public var identity: String?
    /// How long running activities may go on when the worker stops; then their tasks are cancelled.
    public var workerStopTimeout: Duration = .seconds(10)
    /// How often signs of life of activities without a heartbeat timeout are passed on.
    public var defaultHeartbeatThrottleInterval: Duration = .seconds(30)
    /// The longest interval between signs of life that are passed on.
    public var maxHeartbeatThrottleInterval: Duration = .seconds(60)
    /// Writes logs of workflows also while they are replayed.
    public var enableLoggingInReplay = false
    /// Never takes activities straight from a workflow task's answer; so it is anyway where their rate is limited.
    public var disableEagerActivities = false
    /// Which errors besides every ``TemporalFailure`` fail the workflow instead of the workflow task.
    public var failsWorkflow: @Sendable (any Error) -> Bool = { _ in false }

    public init() {}
}
