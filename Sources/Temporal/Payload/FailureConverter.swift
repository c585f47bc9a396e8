public import TemporalAPI

import SwiftProtobuf

/// Turns errors into failures and back, causes and stack traces included.
public struct FailureConverter: Sendable {
    /// Puts messages and stack traces into a payload, so that a codec can encrypt them.
    public var encodesAttributes: Bool
    /// Names the failures of errors that are none of this library's: `type` in their ``ApplicationFailure``.
    public var typeName: @Sendable (any Error) -> String

    public init(
        encodesAttributes: Bool = false,
        typeName: @escaping @Sendable (any Error) -> String = { "\(type(of: $0))" }
    ) {
        self.encodesAttributes = encodesAttributes
        self.typeName = typeName
    }

    /// The failure that an error of any kind is to Temporal.
    ///
    /// A `CancellationError` is a ``CanceledFailure``; errors of others are an ``ApplicationFailure`` that carries
    /// their type's name and their description.
    public static func failure(
        from error: any Error,
        typeName: (any Error) -> String = { "\(type(of: $0))" }
    ) -> any TemporalFailure {
        if let failure = error as? any TemporalFailure { return failure }
        if error is CancellationError { return CanceledFailure() }
        var failure = ApplicationFailure("\(error)", type: typeName(error))
        failure.stackTrace = ""
        return failure
    }

    public func failure(of error: any Error, by converter: PayloadConverter) -> APIFailure {
        let error = Self.failure(from: error, typeName: typeName)
        var failure = APIFailure()
        failure.message = error.message
        failure.source = TemporalLibrary.failureSource
        failure.stackTrace = error.stackTrace
        failure.failureInfo = info(of: error)
        if let cause = error.cause { failure.cause = self.failure(of: cause, by: converter) }
        if encodesAttributes,
            let attributes = try? converter.encode(
                Attributes(message: failure.message, stack_trace: failure.stackTrace)
            )
        {
            failure.message = "Encoded failure"
            failure.stackTrace = ""
            failure.encodedAttributes = attributes
        }
        return failure
    }

    public func error(of failure: APIFailure, by converter: PayloadConverter) -> any TemporalFailure {
        var message = failure.message
        var stackTrace = failure.stackTrace
        // Attributes that cannot be read leave the message that says that they are encoded.
        if failure.hasEncodedAttributes,
            let attributes = try? converter.decode(failure.encodedAttributes, as: Attributes.self)
        {
            message = attributes.message
            stackTrace = attributes.stack_trace
        }
        let cause = failure.hasCause ? error(of: failure.cause, by: converter) : nil
        var error = error(failure.failureInfo, message, cause)
        error.stackTrace = stackTrace
        return error
    }

    /// The names are those of the other SDKs.
    private struct Attributes: Codable, Sendable {
        var message: String
        var stack_trace: String
    }

    private func info(of error: any TemporalFailure) -> APIFailure.OneOf_FailureInfo? {
        switch error {
        case let error as ApplicationFailure:
            return .applicationFailureInfo(
                .with {
                    $0.type = error.type
                    $0.nonRetryable = error.isNonRetryable
                    if !error.details.isEmpty { $0.details = APIPayloads(error.details.payloads) }
                    if let delay = error.nextRetryDelay { $0.nextRetryDelay = .init(rounding: delay) }
                    $0.category =
                        APIApplicationErrorCategory(rawValue: error.category.rawValue) ?? .unspecified
                }
            )
        case let error as CanceledFailure:
            return .canceledFailureInfo(
                .with { if !error.details.isEmpty { $0.details = APIPayloads(error.details.payloads) } }
            )
        case let error as TimeoutFailure:
            return .timeoutFailureInfo(
                .with {
                    $0.timeoutType = APITimeoutType(rawValue: error.kind.rawValue) ?? .unspecified
                    if !error.lastHeartbeatDetails.isEmpty {
                        $0.lastHeartbeatDetails = APIPayloads(error.lastHeartbeatDetails.payloads)
                    }
                }
            )
        case is TerminatedFailure:
            return .terminatedFailureInfo(APITerminatedFailureInfo())
        case let error as ServerFailure:
            return .serverFailureInfo(.with { $0.nonRetryable = error.isNonRetryable })
        case let error as ActivityFailure:
            return .activityFailureInfo(
                .with {
                    $0.activityType.name = error.activityType
                    $0.activityID = error.activityID
                    $0.identity = error.identity
                    $0.scheduledEventID = error.scheduledEventID
                    $0.startedEventID = error.startedEventID
                    $0.retryState = APIRetryState(rawValue: error.retryState.rawValue) ?? .unspecified
                }
            )
        case let error as ChildWorkflowFailure:
            return .childWorkflowExecutionFailureInfo(
                .with {
                    $0.namespace = error.namespace
                    $0.workflowExecution.workflowID = error.workflowID
                    $0.workflowExecution.runID = error.runID
                    $0.workflowType.name = error.workflowType
                    $0.initiatedEventID = error.initiatedEventID
                    $0.startedEventID = error.startedEventID
                    $0.retryState = APIRetryState(rawValue: error.retryState.rawValue) ?? .unspecified
                }
            )
        default:
            return .applicationFailureInfo(.with { $0.type = typeName(error) })
        }
    }

    private func error(
        _ info: APIFailure.OneOf_FailureInfo?,
        _ message: String,
        _ cause: (any TemporalFailure)?
    ) -> any TemporalFailure {
        switch info {
        case .applicationFailureInfo(let info):
            var error = ApplicationFailure(
                message,
                type: info.type,
                nonRetryable: info.nonRetryable,
                nextRetryDelay: info.hasNextRetryDelay ? Duration(info.nextRetryDelay) : nil,
                category: .init(rawValue: info.category.rawValue) ?? .unspecified,
                cause: cause
            )
            error.details = FailureDetails(info.details.payloads)
            return error
        case .canceledFailureInfo(let info):
            let details = FailureDetails(info.details.payloads)
            return CanceledFailure(message: message, details: details, cause: cause)
        case .timeoutFailureInfo(let info):
            return TimeoutFailure(
                message: message,
                kind: .init(rawValue: info.timeoutType.rawValue) ?? .unspecified,
                lastHeartbeatDetails: FailureDetails(info.lastHeartbeatDetails.payloads),
                cause: cause
            )
        case .terminatedFailureInfo: return TerminatedFailure(message: message, cause: cause)
        case .activityFailureInfo(let info):
            return ActivityFailure(
                message: message,
                activityType: info.activityType.name,
                activityID: info.activityID,
                identity: info.identity,
                scheduledEventID: info.scheduledEventID,
                startedEventID: info.startedEventID,
                retryState: RetryState(rawValue: info.retryState.rawValue) ?? .unspecified,
                cause: cause
            )
        case .childWorkflowExecutionFailureInfo(let info):
            return ChildWorkflowFailure(
                message: message,
                namespace: info.namespace,
                workflowID: info.workflowExecution.workflowID,
                runID: info.workflowExecution.runID,
                workflowType: info.workflowType.name,
                initiatedEventID: info.initiatedEventID,
                startedEventID: info.startedEventID,
                retryState: RetryState(rawValue: info.retryState.rawValue) ?? .unspecified,
                cause: cause
            )
        case .serverFailureInfo(let info):
            return ServerFailure(message: message, isNonRetryable: info.nonRetryable, cause: cause)
        case .resetWorkflowFailureInfo, nil: return ServerFailure(message: message, cause: cause)
        }
    }
}
