import TemporalAPI

/// How a workflow is started.
public struct StartWorkflowOptions: Sendable {
    /// Names the workflow; no two that run have the same in a namespace.
    public var id: String
    /// Where its workers take their tasks from.
    public var taskQueue: String
    /// From the start to the end, retries and continuations included; nil for no limit.
    public var executionTimeout: Duration?
    /// For one run of it; nil for no limit.
    public var runTimeout: Duration?
    /// For a worker to answer one workflow task; nil for the server's default of 10 s.
    public var taskTimeout: Duration?
    /// When a workflow with the ID has ended; nil for the server's default, which is to allow the ID.
    public var idReusePolicy: WorkflowIDReusePolicy?
    /// When a workflow with the ID runs; nil for the server's default, which is to fail.
    public var idConflictPolicy: WorkflowIDConflictPolicy?
    /// Starts the workflow again when it fails; nil for never.
    public var retryPolicy: RetryPolicy?
    /// Starts the workflow again and again, by a cron expression.
    ///
    /// Schedules do it better.
    public var cronSchedule: String?
    public var memo: Memo
    public var searchAttributes: SearchAttributes
    /// Waits before the first workflow task.
    public var startDelay: Duration?
    /// A line about this workflow for people, in Markdown without line breaks.
    public var summary: String?
    /// More about this workflow for people, in Markdown.
    public var details: String?
    /// From 1, the most urgent, to 5; nil for the server's default of 3.
    public var priority: Int?
    /// Makes starts with the same one a single start; nil for one that no other has.
    public var requestID: String?

    public init(
        id: String,
        taskQueue: String,
        executionTimeout: Duration? = nil,
        runTimeout: Duration? = nil,
        taskTimeout: Duration? = nil,
        idReusePolicy: WorkflowIDReusePolicy? = nil,
        idConflictPolicy: WorkflowIDConflictPolicy? = nil,
        retryPolicy: RetryPolicy? = nil,
        cronSchedule: String? = nil,
        memo: Memo = Memo(),
        searchAttributes: SearchAttributes = SearchAttributes(),
        startDelay: Duration? = nil,
        summary: String? = nil,
        details: String? = nil,
        priority: Int? = nil,
        requestID: String? = nil
    ) {
        self.id = id
        self.taskQueue = taskQueue
        self.executionTimeout = executionTimeout
        self.runTimeout = runTimeout
        self.taskTimeout = taskTimeout
        self.idReusePolicy = idReusePolicy
        self.idConflictPolicy = idConflictPolicy
        self.retryPolicy = retryPolicy
        self.cronSchedule = cronSchedule
        self.memo = memo
        self.searchAttributes = searchAttributes
        self.startDelay = startDelay
        self.summary = summary
        self.details = details
        self.priority = priority
        self.requestID = requestID
    }

    func userMetadata(by converter: DataConverter) async throws -> APIUserMetadata? {
        guard summary != nil || details != nil else { return nil }
        var metadata = APIUserMetadata()
        if let summary {
            metadata.summary = try await converter.encode(one: converter.payloads.encode(summary))
        }
        if let details {
            metadata.details = try await converter.encode(one: converter.payloads.encode(details))
        }
        return metadata
    }
}
