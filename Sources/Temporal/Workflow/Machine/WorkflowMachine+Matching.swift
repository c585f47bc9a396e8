import Foundation
import SwiftProtobuf
import TemporalAPI

/// The workflow's code and its history disagree: the code was changed, or it is not deterministic.
package struct NondeterminismError: Error, CustomStringConvertible, Sendable {
    /// The event at which they disagree; 0 at the end of the history.
    package let eventID: Int64
    /// What history has there.
    package let found: String
    /// What the code asked for.
    package let produced: String

    package var description: String {
        let place = eventID > 0 ? "event \(eventID)" : "the end of the history"
        return "nondeterminism at \(place): history has \(found), but the workflow produced \(produced). "
            + "Running workflows must meet the same commands: guard a change with patched(_:), "
            + "and use only the context's clock, random numbers and waits"
    }
}

extension NondeterminismError {
    init(missing command: APICommand, before event: APIHistoryEvent?) {
        eventID = event?.eventID ?? 0
        found = event == nil ? "no event for it" : "no event for it before \(event?.summary ?? "")"
        produced = command.summary
    }
}

/// The history of a task starts later than expected.
package struct HistoryGapError: Error {
    let expected: Int64
    let found: Int64
}

extension WorkflowMachine {
    /// Matches an event with the oldest command that was sent.
    mutating func match(_ event: APIHistoryEvent) throws {
        if event.eventType == .markerRecorded, try matchMarker(event) { return }
        while let first = sent.first, first.isOptional, !first.matches(event) { sent.removeFirst() }
        guard let first = sent.first else {
            throw NondeterminismError(eventID: event.eventID, found: event.summary, produced: "nothing")
        }
        guard first.matches(event) else {
            throw NondeterminismError(
                eventID: event.eventID,
                found: event.summary,
                produced: first.command.summary
            )
        }
        sent.removeFirst()
        if let operation = first.operation { record(event, of: operation) }
    }

    /// Markers that need not come in order.
    ///
    /// Returns whether the event was dealt with.
    private mutating func matchMarker(_ event: APIHistoryEvent) throws -> Bool {
        let attributes = event.markerRecordedEventAttributes
        switch attributes.markerName {
        case MarkerName.localActivity:
            guard let data = attributes.localActivityData else {
                throw NondeterminismError(
                    eventID: event.eventID,
                    found: "a local activity marker that cannot be read",
                    produced: sent.first?.command.summary ?? "nothing"
                )
            }
            let type = recordedLocalActivities.removeValue(forKey: data.seq)
            guard type == data.activityType else {
                throw NondeterminismError(
                    eventID: event.eventID,
                    found: event.summary,
                    produced: type.map { "local activity \($0)" } ?? "no local activity \(data.seq)"
                )
            }
            return true
        case MarkerName.patch:
            // A deprecated patch may be gone from the code.
            guard let data = attributes.patchData, data.deprecated else { return false }
            return sent.first.map { !$0.matches(event) } ?? true
        default: return false
        }
    }

    private mutating func record(_ event: APIHistoryEvent, of id: OperationID) {
        guard operations[id] != nil else { return }
        switch event.eventType {
        case .activityTaskScheduled, .startChildWorkflowExecutionInitiated,
            .signalExternalWorkflowExecutionInitiated, .requestCancelExternalWorkflowExecutionInitiated:
            operations[id]?.eventID = event.eventID
            operationsByEvent[event.eventID] = id
        case .timerStarted:
            operations[id]?.eventID = event.eventID
        default: break
        }
        if event.eventType == .startChildWorkflowExecutionInitiated {
            operations[id]?.name = event.startChildWorkflowExecutionInitiatedEventAttributes.workflowID
            if case .child(var child)? = operations[id]?.kind {
                child.workflowID = event.startChildWorkflowExecutionInitiatedEventAttributes.workflowID
                operations[id]?.kind = .child(child)
            }
        }
    }
}

extension WorkflowMachine.PendingCommand {
    func matches(_ event: APIHistoryEvent) -> Bool {
        switch (command.attributes, event.attributes) {
        case (.scheduleActivityTaskCommandAttributes(let a)?, .activityTaskScheduledEventAttributes(let b)?):
            a.activityID == b.activityID && a.activityType.name == b.activityType.name
        case (.startTimerCommandAttributes(let a)?, .timerStartedEventAttributes(let b)?):
            a.timerID == b.timerID
        case (.cancelTimerCommandAttributes(let a)?, .timerCanceledEventAttributes(let b)?):
            a.timerID == b.timerID
        case (
            .requestCancelActivityTaskCommandAttributes(let a)?,
            .activityTaskCancelRequestedEventAttributes(let b)?
        ):
            a.scheduledEventID == b.scheduledEventID
        case (.recordMarkerCommandAttributes(let a)?, .markerRecordedEventAttributes(let b)?):
            a.markerName == b.markerName && a.patchData?.id == b.patchData?.id
        case (
            .startChildWorkflowExecutionCommandAttributes(let a)?,
            .startChildWorkflowExecutionInitiatedEventAttributes(let b)?
        ):
            a.workflowType.name == b.workflowType.name && (hasGeneratedID || a.workflowID == b.workflowID)
        case (
            .signalExternalWorkflowExecutionCommandAttributes(let a)?,
            .signalExternalWorkflowExecutionInitiatedEventAttributes(let b)?
        ):
            a.signalName == b.signalName
                && (hasGeneratedID || a.execution.workflowID == b.workflowExecution.workflowID)
        case (
            .requestCancelExternalWorkflowExecutionCommandAttributes(let a)?,
            .requestCancelExternalWorkflowExecutionInitiatedEventAttributes(let b)?
        ):
            hasGeneratedID || a.workflowID == b.workflowExecution.workflowID
        case (
            .upsertWorkflowSearchAttributesCommandAttributes?, .upsertWorkflowSearchAttributesEventAttributes?
        ),
            (.modifyWorkflowPropertiesCommandAttributes?, .workflowPropertiesModifiedEventAttributes?),
            (.completeWorkflowExecutionCommandAttributes?, .workflowExecutionCompletedEventAttributes?),
            (.failWorkflowExecutionCommandAttributes?, .workflowExecutionFailedEventAttributes?),
            (.cancelWorkflowExecutionCommandAttributes?, .workflowExecutionCanceledEventAttributes?),
            (
                .continueAsNewWorkflowExecutionCommandAttributes?,
                .workflowExecutionContinuedAsNewEventAttributes?
            ):
            true
        case (
            .protocolMessageCommandAttributes(let a)?, .workflowExecutionUpdateAcceptedEventAttributes(let b)?
        ):
            a.messageID == "\(b.protocolInstanceID)/accept"
        case (
            .protocolMessageCommandAttributes(let a)?,
            .workflowExecutionUpdateCompletedEventAttributes(let b)?
        ):
            a.messageID == "\(b.meta.updateID)/complete"
        default: false
        }
    }
}

extension APIEventType {
    /// Whether a command of the workflow made the event.
    var isOfCommand: Bool {
        switch self {
        case .activityTaskScheduled, .activityTaskCancelRequested, .timerStarted, .timerCanceled,
            .markerRecorded,
            .workflowExecutionCompleted, .workflowExecutionFailed, .workflowExecutionCanceled,
            .workflowExecutionContinuedAsNew, .workflowExecutionUpdateAccepted,
            .workflowExecutionUpdateCompleted,
            .startChildWorkflowExecutionInitiated, .signalExternalWorkflowExecutionInitiated,
            .requestCancelExternalWorkflowExecutionInitiated, .upsertWorkflowSearchAttributes,
            .workflowPropertiesModified:
            true
        default: false
        }
    }
}

extension APICommand {
    /// What the command asks for, in words.
    package var summary: String {
        switch attributes {
        case .scheduleActivityTaskCommandAttributes(let a)?:
            "activity \(a.activityType.name) (\(a.activityID))"
        case .startTimerCommandAttributes(let a)?: "timer \(a.timerID)"
        case .cancelTimerCommandAttributes(let a)?: "cancellation of timer \(a.timerID)"
        case .requestCancelActivityTaskCommandAttributes(let a)?:
            "cancellation of the activity of event \(a.scheduledEventID)"
        case .recordMarkerCommandAttributes(let a)?:
            a.patchData.map { "patch \($0.id)" } ?? localActivityType.map { "local activity \($0)" }
                ?? "marker \(a.markerName)"
        case .startChildWorkflowExecutionCommandAttributes(let a)?:
            "child workflow \(a.workflowType.name) (\(a.workflowID))"
        case .signalExternalWorkflowExecutionCommandAttributes(let a)?:
            "signal \(a.signalName) to workflow \(a.execution.workflowID)"
        case .requestCancelExternalWorkflowExecutionCommandAttributes(let a)?:
            "cancellation of workflow \(a.workflowID)"
        case .upsertWorkflowSearchAttributesCommandAttributes?: "search attributes"
        case .modifyWorkflowPropertiesCommandAttributes?: "memo"
        case .completeWorkflowExecutionCommandAttributes?: "completion of the workflow"
        case .failWorkflowExecutionCommandAttributes(let a)?: "failure of the workflow (\(a.failure.message))"
        case .cancelWorkflowExecutionCommandAttributes?: "cancellation of the workflow"
        case .continueAsNewWorkflowExecutionCommandAttributes?: "continuation as a new run"
        case .protocolMessageCommandAttributes(let a)?: "answer \(a.messageID) to an update"
        case nil: "an empty command"
        }
    }

    private var localActivityType: String? { recordMarkerCommandAttributes.localActivityData?.activityType }
}

extension APIHistoryEvent {
    /// What the event records, in words.
    package var summary: String {
        switch attributes {
        case .activityTaskScheduledEventAttributes(let a)?:
            "activity \(a.activityType.name) (\(a.activityID))"
        case .timerStartedEventAttributes(let a)?: "timer \(a.timerID)"
        case .timerCanceledEventAttributes(let a)?: "cancellation of timer \(a.timerID)"
        case .activityTaskCancelRequestedEventAttributes(let a)?:
            "cancellation of the activity of event \(a.scheduledEventID)"
        case .markerRecordedEventAttributes(let a)?:
            a.patchData.map { "patch \($0.id)" } ?? a.localActivityData.map {
                "local activity \($0.activityType)"
            }
                ?? "marker \(a.markerName)"
        case .startChildWorkflowExecutionInitiatedEventAttributes(let a)?:
            "child workflow \(a.workflowType.name) (\(a.workflowID))"
        case .signalExternalWorkflowExecutionInitiatedEventAttributes(let a)?:
            "signal \(a.signalName) to workflow \(a.workflowExecution.workflowID)"
        case .requestCancelExternalWorkflowExecutionInitiatedEventAttributes(let a)?:
            "cancellation of workflow \(a.workflowExecution.workflowID)"
        case .upsertWorkflowSearchAttributesEventAttributes?: "search attributes"
        case .workflowPropertiesModifiedEventAttributes?: "memo"
        case .workflowExecutionCompletedEventAttributes?: "completion of the workflow"
        case .workflowExecutionFailedEventAttributes(let a)?: "failure of the workflow (\(a.failure.message))"
        case .workflowExecutionCanceledEventAttributes?: "cancellation of the workflow"
        case .workflowExecutionContinuedAsNewEventAttributes?: "continuation as a new run"
        case .workflowExecutionUpdateAcceptedEventAttributes(let a)?:
            "answer \(a.protocolInstanceID)/accept to an update"
        case .workflowExecutionUpdateCompletedEventAttributes(let a)?:
            "answer \(a.meta.updateID)/complete to an update"
        default: "\(eventType)"
        }
    }
}
