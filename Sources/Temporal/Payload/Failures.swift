public import TemporalAPI

/// An error as Temporal records it: in histories, and between SDKs of any language.
public protocol TemporalFailure: Error, CustomStringConvertible {
    var message: String { get }
    /// What made this happen, down to the root.
    var cause: (any TemporalFailure)? { get }
    /// Where it happened, in the words of the language in which it did; may be empty.
    var stackTrace: String { get set }
}

extension TemporalFailure {
    public var description: String {
        let own = message.isEmpty ? "\(type(of: self))" : message
        return cause.map { "\(own): \($0)" } ?? own
    }

    /// The last of the chain of causes, or the failure itself.
    public var rootCause: any TemporalFailure { cause?.rootCause ?? self }

    /// The first failure of this type in the chain, this one included.
    public func first<Failure: TemporalFailure>(_ type: Failure.Type = Failure.self) -> Failure? {
        self as? Failure ?? cause?.first(type)
    }
}

/// Values that travel with a failure.
public struct FailureDetails: Sendable, Hashable {
    public var payloads: [APIPayload]

    public init(_ payloads: [APIPayload] = []) { self.payloads = payloads }

    public var isEmpty: Bool { payloads.isEmpty }
    public var count: Int { payloads.count }

    /// The value at an index, or nil when there are fewer.
    public func decode<Value: Decodable & Sendable>(
        _ type: Value.Type = Value.self,
        at index: Int = 0,
        by converter: PayloadConverter = PayloadConverter()
    ) throws -> Value? {
        payloads.indices.contains(index) ? try converter.decode(payloads[index], as: type) : nil
    }
}

/// A failure that an application throws on purpose; other errors become one on the way to the server.
public struct ApplicationFailure: TemporalFailure {
    public enum Category: Int, Sendable {
        case unspecified
        /// Expected: logged quietly and left out of the error metrics.
        case benign
    }

    public var message: String
    /// What retry policies and callers tell failures apart by; the type's name for other errors.
    public var type: String
    public var details: FailureDetails
    public var isNonRetryable: Bool
    /// Overrides the retry policy's next wait.
    public var nextRetryDelay: Duration?
    public var category: Category
    public var cause: (any TemporalFailure)?
    public var stackTrace: String

    /// A failure with values in `details` for whoever handles it; any error can be its cause.
    public init(
        _ message: String,
        type: String = "ApplicationFailure",
        details: [any Encodable & Sendable] = [],
        nonRetryable: Bool = false,
        nextRetryDelay: Duration? = nil,
        category: Category = .unspecified,
        cause: (any Error)? = nil,
        function: String = #function,
        file: String = #fileID,
        line: Int = #line
    ) {
        self.message = message
        self.type = type
        // A detail that cannot be encoded must not hide the failure that it was to explain.
        self.details = FailureDetails(details.compactMap { try? PayloadConverter().encode($0) })
        self.isNonRetryable = nonRetryable
        self.nextRetryDelay = nextRetryDelay
        self.category = category
        self.cause = cause.map { FailureConverter.failure(from: $0) }
        stackTrace = "at \(function) (\(file):\(line))"
    }
}

extension ApplicationFailure {
    /// The failure to find a name among those that are `known`.
    static func unknown(_ kind: String, _ name: String, _ known: some Sequence<String>) -> Self {
        Self(
            "this worker has no \(kind) \"\(name)\"; it has: \(known.sorted().joined(separator: ", "))",
            type: "NotFoundError"
        )
    }
}

/// An activity that failed for good; ``cause`` says why.
public struct ActivityFailure: TemporalFailure {
    public var message: String
    public var activityType: String
    public var activityID: String
    public var identity: String
    public var scheduledEventID: Int64
    public var startedEventID: Int64
    public var retryState: RetryState
    public var cause: (any TemporalFailure)?
    public var stackTrace = ""

    public init(
        message: String = "Activity task failed",
        activityType: String,
        activityID: String,
        identity: String = "",
        scheduledEventID: Int64 = 0,
        startedEventID: Int64 = 0,
        retryState: RetryState = .unspecified,
        cause: (any TemporalFailure)? = nil
    ) {
        self.message = message
        self.activityType = activityType
        self.activityID = activityID
        self.identity = identity
        self.scheduledEventID = scheduledEventID
        self.startedEventID = startedEventID
        self.retryState = retryState
        self.cause = cause
    }
}

/// A child workflow that failed; ``cause`` says why.
public struct ChildWorkflowFailure: TemporalFailure {
    public var message: String
    public var namespace: String
    public var workflowID: String
    public var runID: String
    public var workflowType: String
    public var initiatedEventID: Int64
    public var startedEventID: Int64
    public var retryState: RetryState
    public var cause: (any TemporalFailure)?
    public var stackTrace = ""

    public init(
        message: String = "Child workflow execution failed",
        namespace: String = "",
        workflowID: String,
        runID: String = "",
        workflowType: String,
        initiatedEventID: Int64 = 0,
        startedEventID: Int64 = 0,
        retryState: RetryState = .unspecified,
        cause: (any TemporalFailure)? = nil
    ) {
        self.message = message
        self.namespace = namespace
        self.workflowID = workflowID
        self.runID = runID
        self.workflowType = workflowType
        self.initiatedEventID = initiatedEventID
        self.startedEventID = startedEventID
        self.retryState = retryState
        self.cause = cause
    }
}

/// Time ran out.
public struct TimeoutFailure: TemporalFailure {
    public enum Kind: Int, Sendable {
        case unspecified, startToClose, scheduleToStart, scheduleToClose, heartbeat
    }

    public var message: String
    public var kind: Kind
    public var lastHeartbeatDetails: FailureDetails
    public var cause: (any TemporalFailure)?
    public var stackTrace = ""

    public init(
        message: String = "timed out",
        kind: Kind,
        lastHeartbeatDetails: FailureDetails = FailureDetails(),
        cause: (any TemporalFailure)? = nil
    ) {
        self.message = message
        self.kind = kind
        self.lastHeartbeatDetails = lastHeartbeatDetails
        self.cause = cause
    }
}

/// Somebody asked for the end, and it was granted.
///
/// A `CancellationError` becomes one.
public struct CanceledFailure: TemporalFailure {
    public var message: String
    public var details: FailureDetails
    public var cause: (any TemporalFailure)?
    public var stackTrace = ""

    public init(
        message: String = "canceled",
        details: FailureDetails = FailureDetails(),
        cause: (any TemporalFailure)? = nil
    ) {
        self.message = message
        self.details = details
        self.cause = cause
    }
}

/// Somebody ended it without asking.
public struct TerminatedFailure: TemporalFailure {
    public var message: String
    public var cause: (any TemporalFailure)?
    public var stackTrace = ""

    public init(message: String = "terminated", cause: (any TemporalFailure)? = nil) {
        self.message = message
        self.cause = cause
    }
}

/// The server could not do it, or a failure of a kind that this library does not know.
public struct ServerFailure: TemporalFailure {
    public var message: String
    public var isNonRetryable: Bool
    public var cause: (any TemporalFailure)?
    public var stackTrace = ""

    public init(message: String, isNonRetryable: Bool = false, cause: (any TemporalFailure)? = nil) {
        self.message = message
        self.isNonRetryable = isNonRetryable
        self.cause = cause
    }
}

/// Why something that failed is not tried again.
public enum RetryState: Int, Sendable {
    case unspecified, inProgress, nonRetryableFailure, timeout, maximumAttemptsReached, retryPolicyNotSet
    case internalServerError, cancelRequested
}
