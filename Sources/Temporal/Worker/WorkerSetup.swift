/// What the parts of a worker share.
struct WorkerSetup: Sendable {
    let connection: TemporalConnection
    let options: WorkerOptions
    let environment: WorkflowEnvironment
    /// By which name events in histories call the worker.
    let identity: String
    /// The queue of tasks for runs that this worker has in memory.
    let stickyQueue: String
    let metrics: WorkerMetrics
}
