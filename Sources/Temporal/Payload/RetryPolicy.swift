package import TemporalAPI

import SwiftProtobuf

/// When and how often something that failed is tried again.
public struct RetryPolicy: Sendable, Hashable {
    /// The wait after the first failure.
    public var initialInterval: Duration
    /// What each wait is multiplied by to get the next.
    public var backoffCoefficient: Double
    /// The longest wait; nil for a hundred times ``initialInterval``.
    public var maximumInterval: Duration?
    /// The number of attempts in all; 0 for no limit.
    public var maximumAttempts: Int
    /// Types of ``ApplicationFailure`` that end it at once.
    public var nonRetryableErrorTypes: [String]

    public init(
        initialInterval: Duration = .seconds(1),
        backoffCoefficient: Double = 2,
        maximumInterval: Duration? = nil,
        maximumAttempts: Int = 0,
        nonRetryableErrorTypes: [String] = []
    ) {
        self.initialInterval = initialInterval
        self.backoffCoefficient = backoffCoefficient
        self.maximumInterval = maximumInterval
        self.maximumAttempts = maximumAttempts
        self.nonRetryableErrorTypes = nonRetryableErrorTypes
    }

    package init(_ policy: APIRetryPolicy) {
        self.init(
            initialInterval: Duration(policy.initialInterval),
            backoffCoefficient: policy.backoffCoefficient,
            maximumInterval: policy.hasMaximumInterval ? Duration(policy.maximumInterval) : nil,
            maximumAttempts: Int(policy.maximumAttempts),
            nonRetryableErrorTypes: policy.nonRetryableErrorTypes
        )
    }

    package var message: APIRetryPolicy {
        var policy = APIRetryPolicy()
        policy.initialInterval = .init(rounding: initialInterval)
        policy.backoffCoefficient = backoffCoefficient
        if let maximumInterval { policy.maximumInterval = .init(rounding: maximumInterval) }
        policy.maximumAttempts = Int32(clamping: maximumAttempts)
        policy.nonRetryableErrorTypes = nonRetryableErrorTypes
        return policy
    }
}

/// What becomes of a child workflow when its parent ends.
public enum ParentClosePolicy: Int, Sendable {
    case terminate = 1, abandon, requestCancel
}

/// Whether an ID may be used again after the workflow that had it has ended.
public enum WorkflowIDReusePolicy: Int, Sendable {
    case allowDuplicate = 1
    /// Only after a workflow that failed, was cancelled, was terminated or timed out.
    case allowDuplicateFailedOnly
    case rejectDuplicate
}

/// What to do when a workflow with the ID is running.
public enum WorkflowIDConflictPolicy: Int, Sendable {
    /// ``WorkflowAlreadyStartedError`` is thrown.
    case fail = 1
    /// The call goes to the one that runs.
    case useExisting
    case terminateExisting
}
