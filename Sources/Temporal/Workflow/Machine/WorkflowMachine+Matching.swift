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
    mutating func match(_ event: APIHistoryEvent, _ intent: Intent) throws {
        if event.eventType == .markerRecorded, try matchMarker(event, intent) { return }
        while let first = sent.first, first.isOptional, !first.matches(intent) { sent.removeFirst() }
        guard let first = sent.first, first.matches(intent) else {
            throw mismatch(event, sent.first?.command)
        }
        sent.removeFirst()
        if let operation = first.operation { record(event, of: operation) }
    }

    private func mismatch(_ event: APIHistoryEvent, _ command: APICommand?) -> NondeterminismError {
        let produced = command?.summary ?? "nothing"
        return NondeterminismError(eventID: event.eventID, found: event.summary, produced: produced)
    }

    /// Markers that need not come in order.
    ///
    /// Returns whether the event was dealt with.
    private mutating func matchMarker(_ event: APIHistoryEvent, _ intent: Intent) throws -> Bool {
        let attributes = event.markerRecordedEventAttributes
        switch attributes.markerName {
        case MarkerName.localActivity:
            // One that cannot be read has no number.
            let data = LocalActivityMarkerData(attributes.markerName, attributes.details)
            let type = data.flatMap { recordedLocalActivities.removeValue(forKey: $0.seq) }
            if let data, type == data.activityType { return true }
            throw NondeterminismError(
                eventID: event.eventID,
                found: data == nil ? "a local activity marker that cannot be read" : event.summary,
                produced: type.map { "local activity \($0)" } ?? "no local activity \(data?.seq ?? 0)"
            )
        case MarkerName.patch:
            // A deprecated patch may be gone from the code.
            guard let data = PatchMarkerData(attributes.markerName, attributes.details), data.deprecated
            else {
                return false
            }
            return sent.first.map { !$0.matches(intent) } ?? true
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
    /// Whether an event records this command.
    func matches(_ event: Intent) -> Bool {
        switch (command.intent, event) {
        case (.child(let type, _), .child(let other, _)) where hasGeneratedID: type == other
        case (.signal(let name, _), .signal(let other, _)) where hasGeneratedID: name == other
        case (.cancelWorkflow, .cancelWorkflow) where hasGeneratedID: true
        case (.failure, .failure): true
        case (let intent, _): intent == event
        }
    }
}

/// What a command asks for, and what the event that comes of it records.
enum Intent: Equatable, CustomStringConvertible {
    case activity(type: String, id: String)
    case cancelActivity(event: Int64)
    case timer(id: String)
    case cancelTimer(id: String)
    case patch(id: String)
    case localActivity(type: String)
    case marker(name: String)
    case child(type: String, id: String)
    case signal(name: String, workflow: String)
    case cancelWorkflow(id: String)
    case searchAttributes
    case memo
    case completion
    case failure(message: String)
    case cancellation
    case continuation
    case answer(messageID: String)

    init(marker name: String, _ details: [String: APIPayloads]) {
        if let patch = PatchMarkerData(name, details) {
            self = .patch(id: patch.id)
        } else if let activity = LocalActivityMarkerData(name, details) {
            self = .localActivity(type: activity.activityType)
        } else {
            self = .marker(name: name)
        }
    }

    var description: String {
        switch self {
        case .activity(let type, let id): "activity \(type) (\(id))"
        case .cancelActivity(let event): "cancellation of the activity of event \(event)"
        case .timer(let id): "timer \(id)"
        case .cancelTimer(let id): "cancellation of timer \(id)"
        case .patch(let id): "patch \(id)"
        case .localActivity(let type): "local activity \(type)"
        case .marker(let name): "marker \(name)"
        case .child(let type, let id): "child workflow \(type) (\(id))"
        case .signal(let name, let workflow): "signal \(name) to workflow \(workflow)"
        case .cancelWorkflow(let id): "cancellation of workflow \(id)"
        case .searchAttributes: "search attributes"
        case .memo: "memo"
        case .completion: "completion of the workflow"
        case .failure(let message): "failure of the workflow (\(message))"
        case .cancellation: "cancellation of the workflow"
        case .continuation: "continuation as a new run"
        case .answer(let messageID): "answer \(messageID) to an update"
        }
    }
}

extension APICommand {
    init(_ attributes: OneOf_Attributes) {
        self.init()
        self.attributes = attributes
        commandType =
            switch attributes {
            case .scheduleActivityTaskCommandAttributes: .scheduleActivityTask
            case .requestCancelActivityTaskCommandAttributes: .requestCancelActivityTask
            case .startTimerCommandAttributes: .startTimer
            case .cancelTimerCommandAttributes: .cancelTimer
            case .recordMarkerCommandAttributes: .recordMarker
            case .startChildWorkflowExecutionCommandAttributes: .startChildWorkflowExecution
            case .signalExternalWorkflowExecutionCommandAttributes: .signalExternalWorkflowExecution
            case .requestCancelExternalWorkflowExecutionCommandAttributes:
                .requestCancelExternalWorkflowExecution
            case .upsertWorkflowSearchAttributesCommandAttributes: .upsertWorkflowSearchAttributes
            case .modifyWorkflowPropertiesCommandAttributes: .modifyWorkflowProperties
            case .completeWorkflowExecutionCommandAttributes: .completeWorkflowExecution
            case .failWorkflowExecutionCommandAttributes: .failWorkflowExecution
            case .cancelWorkflowExecutionCommandAttributes: .cancelWorkflowExecution
            case .continueAsNewWorkflowExecutionCommandAttributes: .continueAsNewWorkflowExecution
            case .protocolMessageCommandAttributes: .protocolMessage
            }
    }

    var intent: Intent? {
        switch attributes {
        case .scheduleActivityTaskCommandAttributes(let a)?:
            .activity(type: a.activityType.name, id: a.activityID)
        case .requestCancelActivityTaskCommandAttributes(let a)?: .cancelActivity(event: a.scheduledEventID)
        case .startTimerCommandAttributes(let a)?: .timer(id: a.timerID)
        case .cancelTimerCommandAttributes(let a)?: .cancelTimer(id: a.timerID)
        case .recordMarkerCommandAttributes(let a)?: .init(marker: a.markerName, a.details)
        case .startChildWorkflowExecutionCommandAttributes(let a)?:
            .child(type: a.workflowType.name, id: a.workflowID)
        case .signalExternalWorkflowExecutionCommandAttributes(let a)?:
            .signal(name: a.signalName, workflow: a.execution.workflowID)
        case .requestCancelExternalWorkflowExecutionCommandAttributes(let a)?:
            .cancelWorkflow(id: a.workflowID)
        case .upsertWorkflowSearchAttributesCommandAttributes?: .searchAttributes
        case .modifyWorkflowPropertiesCommandAttributes?: .memo
        case .completeWorkflowExecutionCommandAttributes?: .completion
        case .failWorkflowExecutionCommandAttributes(let a)?: .failure(message: a.failure.message)
        case .cancelWorkflowExecutionCommandAttributes?: .cancellation
        case .continueAsNewWorkflowExecutionCommandAttributes?: .continuation
        case .protocolMessageCommandAttributes(let a)?: .answer(messageID: a.messageID)
        case nil: nil
        }
    }

    /// What the command asks for, in words.
    package var summary: String { intent?.description ?? "an empty command" }
}

extension APIHistoryEvent {
    /// What the command asked for that made the event; nil when none did.
    var intent: Intent? {
        switch attributes {
        case .activityTaskScheduledEventAttributes(let a)?:
            .activity(type: a.activityType.name, id: a.activityID)
        case .activityTaskCancelRequestedEventAttributes(let a)?: .cancelActivity(event: a.scheduledEventID)
        case .timerStartedEventAttributes(let a)?: .timer(id: a.timerID)
        case .timerCanceledEventAttributes(let a)?: .cancelTimer(id: a.timerID)
        case .markerRecordedEventAttributes(let a)?: .init(marker: a.markerName, a.details)
        case .startChildWorkflowExecutionInitiatedEventAttributes(let a)?:
            .child(type: a.workflowType.name, id: a.workflowID)
        case .signalExternalWorkflowExecutionInitiatedEventAttributes(let a)?:
            .signal(name: a.signalName, workflow: a.workflowExecution.workflowID)
        case .requestCancelExternalWorkflowExecutionInitiatedEventAttributes(let a)?:
            .cancelWorkflow(id: a.workflowExecution.workflowID)
        case .upsertWorkflowSearchAttributesEventAttributes?: .searchAttributes
        case .workflowPropertiesModifiedEventAttributes?: .memo
        case .workflowExecutionCompletedEventAttributes?: .completion
        case .workflowExecutionFailedEventAttributes(let a)?: .failure(message: a.failure.message)
        case .workflowExecutionCanceledEventAttributes?: .cancellation
        case .workflowExecutionContinuedAsNewEventAttributes?: .continuation
        case .workflowExecutionUpdateAcceptedEventAttributes(let a)?:
            .answer(messageID: "\(a.protocolInstanceID)/accept")
        case .workflowExecutionUpdateCompletedEventAttributes(let a)?:
            .answer(messageID: "\(a.meta.updateID)/complete")
        default: nil
        }
    }

    /// What the event records, in words.
    package var summary: String { intent?.description ?? "\(eventType)" }
}
