/// A workflow that ended without a result.
public struct WorkflowFailedError: Error, CustomStringConvertible {
    public var workflowID: String
    public var runID: String
    public var status: WorkflowStatus
    /// What ended it, such as an ``ApplicationFailure``, a ``CanceledFailure`` or a ``TimeoutFailure``.
    public var cause: any TemporalFailure

    public var description: String { "workflow \(workflowID) \(status): \(cause)" }
}

/// The ID belongs to another workflow, and the policies of the call do not allow that.
public struct WorkflowAlreadyStartedError: Error, CustomStringConvertible {
    public var workflowID: String
    public var runID: String

    public var description: String {
        "a workflow with the ID \(workflowID) was started already, as run \(runID)"
    }
}

/// No such workflow, or none that is running where the call needs that.
public struct WorkflowNotFoundError: Error, CustomStringConvertible {
    public var workflowID: String
    public var message: String

    public var description: String { "workflow \(workflowID): \(message)" }
}

/// A query that the workflow could not answer.
public struct QueryFailedError: Error, CustomStringConvertible {
    public var workflowID: String
    public var query: String
    public var message: String
    /// What the handler threw, where the worker said so.
    public var cause: (any TemporalFailure)?

    public var description: String { "query \(query) of workflow \(workflowID): \(message)" }
}

/// A query that was not asked, because of the workflow's status.
public struct QueryRejectedError: Error, CustomStringConvertible {
    public var workflowID: String
    public var query: String
    public var status: WorkflowStatus

    public var description: String {
        "query \(query) was not asked, because workflow \(workflowID) is \(status)"
    }
}

/// An update that the workflow refused or failed to carry out.
public struct UpdateFailedError: Error, CustomStringConvertible {
    public var workflowID: String
    public var updateID: String
    public var cause: any TemporalFailure

    public var description: String { "update \(updateID) of workflow \(workflowID): \(cause)" }
}

/// When a query is not to be asked.
public enum QueryRejection: Int, Sendable {
    case never = 1
    /// When the workflow has ended.
    case ended
    /// When the workflow has ended otherwise than with a result.
    case endedWithoutResult
}
