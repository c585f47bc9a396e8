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
            return resolve(timers.removeValue(forKey: a.timerID), .completed(APIPayloads()))
        case .activityTaskCompletedEventAttributes(let a)?: return complete(a.scheduledEventID, a.result)
        case .activityTaskFailedEventAttributes(let a)?:
            return fail(a.scheduledEventID, a.failure, a.startedEventID, a.retryState, by: a.identity)
        case .activityTaskTimedOutEventAttributes(let a)?:
            return fail(a.scheduledEventID, a.failure, a.startedEventID, a.retryState)
        case .activityTaskCanceledEventAttributes(let a)?:
            let cause = APIFailure.canceled("activity canceled", details: a.details)
            return fail(a.scheduledEventID, cause, a.startedEventID, .cancelRequested, by: a.identity)
        case .childWorkflowExecutionStartedEventAttributes(let a)?: return started(a)
        case .startChildWorkflowExecutionFailedEventAttributes(let a)?: return notStarted(a)
        case .childWorkflowExecutionCompletedEventAttributes(let a)?:
            return complete(a.initiatedEventID, a.result)
        case .childWorkflowExecutionFailedEventAttributes(let a)?:
            return fail(a.initiatedEventID, a.failure, a.startedEventID, a.retryState)
        case .childWorkflowExecutionCanceledEventAttributes(let a)?:
            let cause = APIFailure.canceled("child workflow canceled", details: a.details)
            return fail(a.initiatedEventID, cause, a.startedEventID)
        case .childWorkflowExecutionTimedOutEventAttributes(let a)?:
            let cause = APIFailure.timedOut("child workflow timed out")
            return fail(a.initiatedEventID, cause, a.startedEventID, a.retryState)
        case .childWorkflowExecutionTerminatedEventAttributes(let a)?:
            return fail(a.initiatedEventID, .terminated("child workflow terminated"), a.startedEventID)
        case .externalWorkflowExecutionSignaledEventAttributes(let a)?: return complete(a.initiatedEventID)
        case .externalWorkflowExecutionCancelRequestedEventAttributes(let a)?:
            return complete(a.initiatedEventID)
        case .signalExternalWorkflowExecutionFailedEventAttributes(let a)?:
            return fail(a.initiatedEventID, .external("signal", a.workflowExecution, a.cause))
        case .requestCancelExternalWorkflowExecutionFailedEventAttributes(let a)?:
            return fail(a.initiatedEventID, .external("cancel", a.workflowExecution, a.cause))
        default: return nil
        }
    }

    private mutating func resolve(_ id: OperationID?, _ resolution: Resolution) -> Job? {
        guard let id, operations.removeValue(forKey: id) != nil else { return nil }
        return .resolve(id, resolution)
    }

    /// Ends the operation whose command made the event `number`.
    private mutating func complete(_ number: Int64, _ result: APIPayloads = APIPayloads()) -> Job? {
        resolve(operationsByEvent.removeValue(forKey: number), .completed(result))
    }

    private mutating func fail(
        _ number: Int64,
        _ cause: APIFailure,
        _ started: Int64 = 0,
        _ retryState: APIRetryState = .nonRetryableFailure,
        by identity: String = ""
    ) -> Job? {
        guard let id = operationsByEvent.removeValue(forKey: number), let operation = operations[id] else {
            return nil
        }
        let failure =
            switch operation.kind {
            case .activity(let activity):
                activity.failure(
                    cause: cause,
                    scheduled: number,
                    started: started,
                    identity: identity,
                    retryState: retryState
                )
            case .child(let child):
                child.failure(cause: cause, initiated: number, started: started, retryState: retryState)
            default: cause
            }
        return resolve(id, .failed(failure))
    }

    private mutating func started(_ event: APIChildWorkflowExecutionStartedEventAttributes) -> Job? {
        guard let start = operationsByEvent[event.initiatedEventID],
            case .child(var child)? = operations[start]?.kind
        else { return nil }
        child.runID = event.workflowExecution.runID
        child.workflowID = event.workflowExecution.workflowID
        operations[child.result]?.kind = .child(child)
        operationsByEvent[event.initiatedEventID] = child.result
        return resolve(start, .started(runID: child.runID))
    }

    private mutating func notStarted(_ event: APIStartChildWorkflowExecutionFailedEventAttributes) -> Job? {
        guard let start = operationsByEvent[event.initiatedEventID],
            case .child(let child)? = operations[start]?.kind
        else { return nil }
        operations[child.result] = nil
        let cause =
            event.cause == .workflowAlreadyExists
            ? APIFailure.application(
                "a workflow with this identifier already runs",
                type: "WorkflowAlreadyStarted"
            )
            : APIFailure.application(
                "the child could not be started: \(event.cause)",
                type: "StartChildWorkflowExecutionFailed"
            )
        return fail(event.initiatedEventID, cause)
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

    static func external(_ verb: String, _ workflow: APIWorkflowExecution, _ cause: some Any) -> APIFailure {
        let isMissing = "\(cause)".lowercased().contains("notfound")
        let reason = isMissing ? "there is no such running workflow" : "\(cause)"
        return .application(
            "\(verb) workflow \(workflow.workflowID): \(reason)",
            type: isMissing ? "WorkflowNotFound" : "ExternalWorkflowFailed"
        )
    }

    static func terminated(_ message: String) -> APIFailure {
        .with {
            $0.message = message
            $0.source = TemporalLibrary.failureSource
            $0.terminatedFailureInfo = APITerminatedFailureInfo()
        }
    }
}
