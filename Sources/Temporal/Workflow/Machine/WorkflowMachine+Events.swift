import Foundation
import SwiftProtobuf
import TemporalAPI

extension WorkflowMachine {
    /// What an event that is no command's means to the workflow; nil when it means nothing.
    mutating func job(for event: APIHistoryEvent) -> Job? {
        switch event.attributes {
        case .workflowExecutionStartedEventAttributes(let a)?: return .start(a)
        case .workflowExecutionSignaledEventAttributes(let a)?: return .signal(a)
        case .workflowExecutionCancelRequestedEventAttributes(let a)?: return .cancel(reason: a.cause)
        case .workflowExecutionUpdateAdmittedEventAttributes(let a)?:
            admittedUpdates[a.request.meta.updateID] = a.request
            return nil
        case .timerFiredEventAttributes(let a)?:
            guard let id = timers.removeValue(forKey: a.timerID) else { return nil }
            return resolve(id, .completed(APIPayloads()))
        default: return activityJob(event) ?? childJob(event) ?? externalJob(event)
        }
    }

    private mutating func resolve(_ id: OperationID?, _ resolution: Resolution) -> Job? {
        guard let id, operations.removeValue(forKey: id) != nil else { return nil }
        return .resolve(id, resolution)
    }

    private mutating func activityJob(_ event: APIHistoryEvent) -> Job? {
        switch event.attributes {
        case .activityTaskCompletedEventAttributes(let a)?:
            return resolve(operationsByEvent.removeValue(forKey: a.scheduledEventID), .completed(a.result))
        case .activityTaskFailedEventAttributes(let a)?:
            return failActivity(
                a.scheduledEventID,
                a.failure,
                started: a.startedEventID,
                identity: a.identity,
                retryState: a.retryState
            )
        case .activityTaskTimedOutEventAttributes(let a)?:
            return failActivity(
                a.scheduledEventID,
                a.failure,
                started: a.startedEventID,
                identity: "",
                retryState: a.retryState
            )
        case .activityTaskCanceledEventAttributes(let a)?:
            return failActivity(
                a.scheduledEventID,
                .canceled("activity canceled", details: a.details),
                started: a.startedEventID,
                identity: a.identity,
                retryState: .cancelRequested
            )
        default: return nil
        }
    }

    private mutating func failActivity(
        _ scheduled: Int64,
        _ cause: APIFailure,
        started: Int64,
        identity: String,
        retryState: APIRetryState
    ) -> Job? {
        guard let id = operationsByEvent.removeValue(forKey: scheduled),
            case .activity(let activity)? = operations[id]?.kind
        else { return nil }
        let failure = activity.failure(
            cause: cause,
            scheduled: scheduled,
            started: started,
            identity: identity,
            retryState: retryState
        )
        return resolve(id, .failed(failure))
    }

    private mutating func childJob(_ event: APIHistoryEvent) -> Job? {
        switch event.attributes {
        case .childWorkflowExecutionStartedEventAttributes(let a)?:
            guard let start = operationsByEvent[a.initiatedEventID],
                case .child(var child)? = operations[start]?.kind
            else { return nil }
            child.runID = a.workflowExecution.runID
            child.workflowID = a.workflowExecution.workflowID
            operations[child.result]?.kind = .child(child)
            operationsByEvent[a.initiatedEventID] = child.result
            return resolve(start, .started(runID: child.runID))
        case .startChildWorkflowExecutionFailedEventAttributes(let a)?:
            guard let start = operationsByEvent.removeValue(forKey: a.initiatedEventID),
                case .child(let child)? = operations[start]?.kind
            else { return nil }
            operations[child.result] = nil
            let exists = a.cause == .workflowAlreadyExists
            let cause = APIFailure.application(
                exists
                    ? "a workflow with this identifier already runs"
                    : "the child could not be started: \(a.cause)",
                type: exists ? "WorkflowAlreadyStarted" : "StartChildWorkflowExecutionFailed"
            )
            return resolve(start, .failed(child.failure(cause: cause, initiated: a.initiatedEventID)))
        case .childWorkflowExecutionCompletedEventAttributes(let a)?:
            return resolve(operationsByEvent.removeValue(forKey: a.initiatedEventID), .completed(a.result))
        case .childWorkflowExecutionFailedEventAttributes(let a)?:
            return failChild(a.initiatedEventID, a.failure, started: a.startedEventID, a.retryState)
        case .childWorkflowExecutionCanceledEventAttributes(let a)?:
            return failChild(
                a.initiatedEventID,
                .canceled("child workflow canceled", details: a.details),
                started: a.startedEventID
            )
        case .childWorkflowExecutionTimedOutEventAttributes(let a)?:
            return failChild(
                a.initiatedEventID,
                .timedOut("child workflow timed out"),
                started: a.startedEventID,
                a.retryState
            )
        case .childWorkflowExecutionTerminatedEventAttributes(let a)?:
            return failChild(
                a.initiatedEventID,
                .terminated("child workflow terminated"),
                started: a.startedEventID
            )
        default: return nil
        }
    }

    private mutating func failChild(
        _ initiated: Int64,
        _ cause: APIFailure,
        started: Int64,
        _ retryState: APIRetryState = .nonRetryableFailure
    ) -> Job? {
        guard let id = operationsByEvent.removeValue(forKey: initiated),
            case .child(let child)? = operations[id]?.kind
        else { return nil }
        return resolve(
            id,
            .failed(
                child.failure(cause: cause, initiated: initiated, started: started, retryState: retryState)
            )
        )
    }

    private mutating func externalJob(_ event: APIHistoryEvent) -> Job? {
        switch event.attributes {
        case .externalWorkflowExecutionSignaledEventAttributes(let a)?:
            return resolve(
                operationsByEvent.removeValue(forKey: a.initiatedEventID),
                .completed(APIPayloads())
            )
        case .externalWorkflowExecutionCancelRequestedEventAttributes(let a)?:
            return resolve(
                operationsByEvent.removeValue(forKey: a.initiatedEventID),
                .completed(APIPayloads())
            )
        case .signalExternalWorkflowExecutionFailedEventAttributes(let a)?:
            return failExternal(a.initiatedEventID, a.workflowExecution.workflowID, "signal", "\(a.cause)")
        case .requestCancelExternalWorkflowExecutionFailedEventAttributes(let a)?:
            return failExternal(a.initiatedEventID, a.workflowExecution.workflowID, "cancel", "\(a.cause)")
        default: return nil
        }
    }

    private mutating func failExternal(
        _ initiated: Int64,
        _ workflow: String,
        _ verb: String,
        _ cause: String
    ) -> Job? {
        let isMissing = cause.lowercased().contains("notfound")
        let reason = isMissing ? "there is no such running workflow" : cause
        return resolve(
            operationsByEvent.removeValue(forKey: initiated),
            .failed(
                .application(
                    "\(verb) workflow \(workflow): \(reason)",
                    type: isMissing ? "WorkflowNotFound" : "ExternalWorkflowFailed"
                )
            )
        )
    }
}

extension WorkflowMachine.Activity {
    func failure(
        cause: APIFailure,
        scheduled: Int64? = nil,
        started: Int64 = 0,
        identity: String = "",
        retryState: APIRetryState = .cancelRequested
    ) -> APIFailure {
        .with {
            $0.message = "activity \(type) failed"
            $0.cause = cause
            $0.activityFailureInfo = .with {
                $0.activityType.name = type
                $0.activityID = id
                $0.identity = identity
                $0.scheduledEventID = scheduled ?? 0
                $0.startedEventID = started
                $0.retryState = retryState
            }
        }
    }
}

extension WorkflowMachine.Child {
    func failure(
        cause: APIFailure,
        initiated: Int64 = 0,
        started: Int64 = 0,
        retryState: APIRetryState = .nonRetryableFailure
    ) -> APIFailure {
        .with {
            $0.message = "child workflow \(type) failed"
            $0.cause = cause
            $0.childWorkflowExecutionFailureInfo = .with {
                $0.workflowExecution.workflowID = workflowID
                $0.workflowExecution.runID = runID
                $0.workflowType.name = type
                $0.initiatedEventID = initiated
                $0.startedEventID = started
                $0.retryState = retryState
            }
        }
    }
}

extension APIFailure {
    static func canceled(_ message: String, details: APIPayloads? = nil) -> APIFailure {
        .with {
            $0.message = message
            $0.source = TemporalLibrary.failureSource
            $0.canceledFailureInfo = .with {
                if let details, !details.payloads.isEmpty { $0.details = details }
            }
        }
    }

    static func application(_ message: String, type: String, nonRetryable: Bool = false) -> APIFailure {
        .with {
            $0.message = message
            $0.source = TemporalLibrary.failureSource
            $0.applicationFailureInfo = .with {
                $0.type = type
                $0.nonRetryable = nonRetryable
            }
        }
    }

    static func timedOut(_ message: String, kind: APITimeoutType = .startToClose) -> APIFailure {
        .with {
            $0.message = message
            $0.source = TemporalLibrary.failureSource
            $0.timeoutFailureInfo = .with { $0.timeoutType = kind }
        }
    }

    static func terminated(_ message: String) -> APIFailure {
        .with {
            $0.message = message
            $0.source = TemporalLibrary.failureSource
            $0.terminatedFailureInfo = APITerminatedFailureInfo()
        }
    }
}
