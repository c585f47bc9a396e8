package import Foundation
import SwiftProtobuf
package import TemporalAPI

/// What becomes of an activity or a child workflow when the task that waits for it is cancelled.
public enum CancellationBehavior: Sendable, Hashable {
    /// Asks for cancellation and waits for the outcome, which may still be a success.
    case waitUntilCompleted
    /// Asks for cancellation and goes on at once.
    case tryCancel
    /// Goes on at once without asking.
    case abandon
}

extension WorkflowMachine {
    struct Operation: Sendable {
        var kind: Kind
        /// What it is called, for people.
        var name: String
        /// The event that recorded its command.
        var eventID: Int64?
        var cancelWasAsked = false
    }

    enum Kind: Sendable {
        case timer(id: String)
        case activity(Activity)
        case localActivity(number: UInt32, CancellationBehavior)
        case child(Child)
        case signalExternal
        case cancelExternal
    }

    struct Activity: Sendable {
        var id: String
        var type: String
        var cancellation: CancellationBehavior
    }

    struct Child: Sendable {
        var workflowID: String
        var runID = ""
        var type: String
        var cancellation: CancellationBehavior
        let start: OperationID
        let result: OperationID
    }

    package struct LocalActivityRequest: Sendable {
        package let operation: OperationID
        package let number: UInt32
        package let activityID: String
        package let type: String
        package let input: APIPayloads
        package let header: APIHeader
        let options: LocalActivityOptions
        package let attempt: Int
        package let originalSchedule: Date
    }

    // MARK: What the workflow asks for

    private mutating func add(_ kind: Kind, name: String) -> OperationID {
        let id = nextOperationID()
        operations[id] = Operation(kind: kind, name: name)
        return id
    }

    private mutating func nextOperationID() -> OperationID {
        counters.operation += 1
        return OperationID(number: counters.operation)
    }

    mutating func send(
        _ attributes: APICommand.OneOf_Attributes,
        of operation: OperationID? = nil,
        summary: APIUserMetadata? = nil,
        isOptional: Bool = false,
        hasGeneratedID: Bool = false
    ) {
        var command = APICommand(attributes)
        if let summary { command.userMetadata = summary }
        unsent.append(
            PendingCommand(
                command: command,
                operation: operation,
                isOptional: isOptional,
                hasGeneratedID: hasGeneratedID
            )
        )
    }

    package mutating func startTimer(_ duration: Duration, summary: APIUserMetadata? = nil) -> OperationID {
        counters.timer += 1
        let timer = "\(counters.timer)"
        let id = add(.timer(id: timer), name: "timer \(timer) of \(duration)")
        timers[timer] = id
        let attributes = APIStartTimerCommandAttributes.with {
            $0.timerID = timer
            // The server refuses timers of no time.
            $0.startToFireTimeout = .init(rounding: max(duration, .milliseconds(1)))
        }
        send(.startTimerCommandAttributes(attributes), of: id, summary: summary)
        return id
    }

    /// `attributes`: everything but the identifier, unless the workflow chose it.
    package mutating func scheduleActivity(
        _ attributes: APIScheduleActivityTaskCommandAttributes,
        cancellation: CancellationBehavior,
        summary: APIUserMetadata? = nil
    ) -> OperationID {
        counters.activity += 1
        var attributes = attributes
        if attributes.activityID.isEmpty { attributes.activityID = "\(counters.activity)" }
        let activity = Activity(
            id: attributes.activityID,
            type: attributes.activityType.name,
            cancellation: cancellation
        )
        let id = add(.activity(activity), name: "activity \(activity.type) (\(activity.id))")
        send(.scheduleActivityTaskCommandAttributes(attributes), of: id, summary: summary)
        return id
    }

    mutating func scheduleLocalActivity(
        type: String,
        input: APIPayloads,
        header: APIHeader,
        options: LocalActivityOptions,
        attempt: Int,
        originalSchedule: Date?
    ) -> OperationID {
        counters.activity += 1
        let number = counters.activity
        let id = add(
            .localActivity(number: number, options.cancellation),
            name: "local activity \(type) (\(number))"
        )
        localActivities[number] = id
        freshRequests.append(
            LocalActivityRequest(
                operation: id,
                number: number,
                activityID: options.activityID ?? "\(number)",
                type: type,
                input: input,
                header: header,
                options: options,
                attempt: attempt,
                originalSchedule: originalSchedule ?? now
            )
        )
        return id
    }

    /// Local activities to run, and those to stop, since the last call.
    package mutating func takeLocalActivities() -> (start: [LocalActivityRequest], cancel: [OperationID]) {
        defer {
            localRequests = []
            localCancellations = []
        }
        return (localRequests, localCancellations)
    }

    /// - Returns: The operations that end when the child has started, and when it has closed.
    package mutating func startChild(
        _ attributes: APIStartChildWorkflowExecutionCommandAttributes,
        cancellation: CancellationBehavior,
        generatedID: String,
        summary: APIUserMetadata? = nil
    ) -> (start: OperationID, result: OperationID) {
        var attributes = attributes
        let isGenerated = attributes.workflowID.isEmpty
        if isGenerated { attributes.workflowID = generatedID }
        let start = nextOperationID()
        let result = nextOperationID()
        let child = Child(
            workflowID: attributes.workflowID,
            type: attributes.workflowType.name,
            cancellation: cancellation,
            start: start,
            result: result
        )
        let name = "child workflow \(child.type) (\(child.workflowID))"
        operations[start] = Operation(kind: .child(child), name: "start of \(name)")
        operations[result] = Operation(kind: .child(child), name: name)
        send(
            .startChildWorkflowExecutionCommandAttributes(attributes),
            of: start,
            summary: summary,
            hasGeneratedID: isGenerated
        )
        return (start, result)
    }

    /// The child's identifiers, as far as they are known.
    package func child(_ operation: OperationID) -> (workflowID: String, runID: String)? {
        guard case .child(let child)? = operations[operation]?.kind else { return nil }
        return (child.workflowID, child.runID)
    }

    package mutating func signalExternal(
        _ attributes: APISignalExternalWorkflowExecutionCommandAttributes
    )
        -> OperationID
    {
        let id = add(
            .signalExternal,
            name: "signal \(attributes.signalName) to \(attributes.execution.workflowID)"
        )
        send(
            .signalExternalWorkflowExecutionCommandAttributes(attributes),
            of: id,
            hasGeneratedID: attributes.childWorkflowOnly
        )
        return id
    }

    package mutating func cancelExternal(
        _ attributes: APIRequestCancelExternalWorkflowExecutionCommandAttributes
    )
        -> OperationID
    {
        let id = add(.cancelExternal, name: "cancellation of \(attributes.workflowID)")
        send(
            .requestCancelExternalWorkflowExecutionCommandAttributes(attributes),
            of: id,
            hasGeneratedID: attributes.childWorkflowOnly
        )
        return id
    }

    package mutating func upsertSearchAttributes(_ attributes: APISearchAttributes, isOptional: Bool = false)
    {
        send(
            .upsertWorkflowSearchAttributesCommandAttributes(.with { $0.searchAttributes = attributes }),
            isOptional: isOptional
        )
    }

    package mutating func upsertMemo(_ memo: APIMemo) {
        send(.modifyWorkflowPropertiesCommandAttributes(.with { $0.upsertedMemo = memo }))
    }

    /// Makes the command that closes the run.
    ///
    /// Only the first one counts.
    package mutating func close(_ attributes: APICommand.OneOf_Attributes) {
        guard terminal == nil else { return }
        terminal = PendingCommand(command: APICommand(attributes))
    }

    // MARK: Giving up

    /// Gives an operation up.
    ///
    /// - Returns: The operations that end with that, and how; none when the outcome is still awaited.
    package mutating func cancel(_ id: OperationID, reason: String = "") -> [(OperationID, Resolution)] {
        guard let operation = operations[id], !operation.cancelWasAsked else { return [] }
        operations[id]?.cancelWasAsked = true
        switch operation.kind {
        case .timer(let timer):
            if !withdraw(id) { send(.cancelTimerCommandAttributes(.with { $0.timerID = timer })) }
            operations[id] = nil
            timers[timer] = nil
            return [(id, .canceled)]
        case .activity(let activity): return cancel(activity, id, eventID: operation.eventID)
        case .localActivity(let number, let behavior): return cancelLocal(number, behavior, id)
        case .child(let child):
            return cancel(
                child,
                eventID: operations[child.start]?.eventID ?? operation.eventID,
                reason: reason
            )
        case .signalExternal, .cancelExternal:
            // Only a request that has not left can be taken back.
            guard withdraw(id) else { return [] }
            operations[id] = nil
            return [(id, .canceled)]
        }
    }

    private mutating func cancel(
        _ activity: Activity,
        _ id: OperationID,
        eventID: Int64?
    ) -> [(OperationID, Resolution)] {
        let canceled = Resolution.failed(
            activity.failure(cause: .canceled("activity canceled"), scheduled: eventID)
        )
        if withdraw(id) {
            operations[id] = nil
            return [(id, canceled)]
        }
        if activity.cancellation != .abandon, let eventID {
            send(.requestCancelActivityTaskCommandAttributes(.with { $0.scheduledEventID = eventID }))
        }
        guard activity.cancellation != .waitUntilCompleted else { return [] }
        operations[id] = nil
        return [(id, canceled)]
    }

    private mutating func cancelLocal(
        _ number: UInt32,
        _ behavior: CancellationBehavior,
        _ id: OperationID
    ) -> [(OperationID, Resolution)] {
        if let index = freshRequests.firstIndex(where: { $0.operation == id }) {
            freshRequests.remove(at: index)
        } else if behavior != .abandon {
            localCancellations.append(id)
            // Its end is recorded like any other, so that a replay meets it at the same place.
            return []
        }
        operations[id] = nil
        return [(id, .failed(.canceled("local activity canceled")))]
    }

    private mutating func cancel(
        _ child: Child,
        eventID: Int64?,
        reason: String
    ) -> [(OperationID, Resolution)] {
        let failure = child.failure(cause: .canceled("child workflow canceled"))
        let both = [child.start, child.result].filter { operations[$0] != nil }
        for id in both { operations[id]?.cancelWasAsked = true }
        if !withdraw(child.start) {
            if child.cancellation != .abandon {
                let request = APIRequestCancelExternalWorkflowExecutionCommandAttributes.with {
                    $0.workflowID = child.workflowID
                    $0.childWorkflowOnly = true
                    $0.reason = reason
                }
                send(.requestCancelExternalWorkflowExecutionCommandAttributes(request), hasGeneratedID: true)
            }
            if child.cancellation == .waitUntilCompleted { return [] }
        }
        for id in both { operations[id] = nil }
        return both.map { ($0, .failed(failure)) }
    }

    /// Takes a command back that has not left.
    ///
    /// Returns whether there was one.
    private mutating func withdraw(_ id: OperationID) -> Bool {
        guard let index = unsent.firstIndex(where: { $0.operation == id }) else { return false }
        unsent.remove(at: index)
        return true
    }
}
