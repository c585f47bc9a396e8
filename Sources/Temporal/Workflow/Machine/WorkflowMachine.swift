package import Foundation
import SwiftProtobuf
package import TemporalAPI

/// Decides what a workflow run is told and what the server is told, from its history alone.
///
/// The machine does no I/O, reads no clock and runs no code of the workflow. ``WorkflowRun`` drives it:
///
/// ```
/// feed(events) ─► nextActivation() ─► jobs for the workflow ─► its code calls startTimer(…), scheduleActivity(…), …
///                     ▲                                                       │
///                     └── replaying: finishActivation() ◄─────────────────────┤
///                                    live:               takeCommands() ◄─────┘
/// ```
///
/// A command goes `unsent` → `sent` → matched with its event, in order. An activation is a workflow task that was
/// completed (replaying), or the one in hand (live). Within it the jobs come in the order of the official SDKs:
/// signals and updates, then everything else, each set applied before the workflow runs.
package struct WorkflowMachine: Sendable {
    /// What a workflow waits for: a timer, an activity, the start of a child.
    package struct OperationID: Hashable, Sendable {
        package let number: Int
    }

    struct PendingCommand: Sendable {
        var command: APICommand
        var operation: OperationID?
        /// History may lack its event: an index entry of a patch, or a deprecated patch.
        var isOptional = false
        /// The identifier was made up here: history's own is taken instead.
        var hasGeneratedID = false
    }

    /// Commands that the workflow made in this activation.
    var unsent: [PendingCommand] = []
    /// Commands that a completed workflow task sent, and whose events are not seen yet.
    var sent: [PendingCommand] = []
    /// The command that closes the run; it goes last.
    var terminal: PendingCommand?
    /// Answers to updates of the activation in hand.
    var messages: [APIProtocolMessage] = []

    var operations: [OperationID: Operation] = [:]
    var operationsByEvent: [Int64: OperationID] = [:]
    var timers: [String: OperationID] = [:]
    var localActivities: [UInt32: OperationID] = [:]
    /// Local activities that ended and whose markers are not seen yet, by number.
    var recordedLocalActivities: [UInt32: String] = [:]
    var counters = Counters()

    var patches: [String: Bool] = [:]
    var patchOrder: [String] = []
    /// What the workflow task in hand is known to have recorded, when it is replayed.
    var lookahead = Lookahead()
    var admittedUpdates: [String: APIUpdateRequest] = [:]
    /// Local activities asked for since the workflow last gave its thread back.
    var freshRequests: [LocalActivityRequest] = []
    var localRequests: [LocalActivityRequest] = []
    private var reseed: String?
    var localCancellations: [OperationID] = []

    private var buffer: [APIHistoryEvent] = []
    private var cursor = 0
    private var lastEventID: Int64 = 0
    /// The last event that was matched with a command or made into a job; a shortened history may bring it again.
    private var appliedUpTo: Int64 = 0
    private var batch: [APIHistoryEvent] = []
    private var incoming: [APIProtocolMessage] = []
    private var isLive = true
    private var usesSingleBatch = false
    package private(set) var isReplaying = true
    package private(set) var now = Date(timeIntervalSince1970: 0)
    /// The name of the library that wrote the history, where it says so.
    package private(set) var librarySeen = ""

    package init() {}

    /// Whether the run's last command was made.
    package var isComplete: Bool { terminal != nil }

    /// Whether the workflow waits for anything that history or a local activity will bring.
    package var hasPendingOperations: Bool { !operations.isEmpty }

    /// The identifier of the last event that was taken in.
    package var handledUpTo: Int64 { lastEventID }

    // MARK: History in

    /// Takes the events of a workflow task; those seen before are skipped.
    ///
    /// - Parameters:
    ///   - events: The run's events in order, all of them or those since the last task.
    ///   - messages: Update requests that came with the task.
    ///   - isLive: Whether the last started workflow task is to be answered. It is not when a query is answered or a
    ///     history replayed.
    /// - Throws: ``HistoryGapError`` when events are missing before the first one.
    package mutating func feed(
        _ events: [APIHistoryEvent],
        messages: [APIProtocolMessage] = [],
        isLive: Bool = true
    ) throws {
        self.isLive = isLive
        incoming = messages
        guard let last = events.last, last.eventID > lastEventID else { return }
        let fresh = events.filter { $0.eventID > lastEventID }
        guard let first = fresh.first, first.eventID == lastEventID + 1 else {
            throw HistoryGapError(expected: lastEventID + 1, found: fresh.first?.eventID ?? 0)
        }
        buffer.removeAll(keepingCapacity: false)
        cursor = 0
        buffer = fresh
    }

    /// Forgets the events after `eventID`: the server took them back, with an update that was refused.
    package mutating func resetHistory(to eventID: Int64) {
        guard eventID > 0, eventID < lastEventID else { return }
        lastEventID = eventID
        buffer = []
        cursor = 0
    }

    /// The next workflow task to apply: matches the commands of the one before with their events.
    ///
    /// - Throws: ``NondeterminismError`` when the commands and the history disagree.
    package mutating func nextActivation() throws -> Activation? {
        while cursor < buffer.count {
            let event = buffer[cursor]
            if event.eventType == .workflowTaskStarted {
                let next = cursor + 1 < buffer.count ? buffer[cursor + 1] : nil
                if next == nil, !isLive { return nil }
                if next == nil || next?.eventType == .workflowTaskCompleted {
                    if let command = sent.first(where: { !$0.isOptional }) {
                        throw NondeterminismError(missing: command.command, before: event)
                    }
                    sent = []
                    return activate(event, completed: next)
                }
            } else if event.eventID > appliedUpTo {
                try take(event)
            }
            lastEventID = event.eventID
            cursor += 1
        }
        if !buffer.isEmpty {
            buffer = []
            cursor = 0
        }
        return nil
    }

    private mutating func take(_ event: APIHistoryEvent) throws {
        switch event.eventType {
        case .workflowTaskScheduled, .workflowTaskTimedOut: return
        case .workflowTaskFailed:
            let attributes = event.workflowTaskFailedEventAttributes
            if attributes.cause == .resetWorkflow { reseed = attributes.newRunID }
        case .workflowTaskCompleted: noteLibrary(event.workflowTaskCompletedEventAttributes.sdkMetadata)
        default:
            if let intent = event.intent { try match(event, intent) } else { batch.append(event) }
            appliedUpTo = event.eventID
        }
    }

    private mutating func noteLibrary(_ metadata: APIWorkflowTaskCompletedMetadata) {
        if !metadata.sdkName.isEmpty { librarySeen = metadata.sdkName }
        // The Python SDK's flag for applying all jobs of a task before any code runs.
        if librarySeen == "temporal-python", metadata.langUsedFlags.contains(2) { usesSingleBatch = true }
    }

    // MARK: Activation

    private mutating func activate(_ started: APIHistoryEvent, completed: APIHistoryEvent?) -> Activation {
        isReplaying = completed != nil
        now = max(now, started.eventTime.date)
        lookahead = Lookahead()
        var updates: [UpdateRequest] = []
        if let completed {
            noteLibrary(completed.workflowTaskCompletedEventAttributes.sdkMetadata)
            var index = cursor + 2
            while index < buffer.count, buffer[index].eventType != .workflowTaskStarted {
                lookAt(buffer[index], updates: &updates)
                index += 1
            }
        } else {
            updates = incoming.compactMap(UpdateRequest.init)
            incoming = []
        }
        var signals: [(id: Int64, job: Job)] = []
        var others: [Job] = []
        for event in batch {
            guard let job = job(for: event) else { continue }
            if case .signal = job { signals.append((event.eventID, job)) } else { others.append(job) }
        }
        batch = []
        for update in updates {
            let index = signals.firstIndex { $0.id > update.sequencingEventID } ?? signals.count
            signals.insert((update.sequencingEventID, .update(update)), at: index)
        }
        let first = signals.map(\.job)
        let attributes = started.workflowTaskStartedEventAttributes
        lastEventID = started.eventID
        cursor += 1
        defer { reseed = nil }
        return Activation(
            batches: (usesSingleBatch ? [first + others] : [first, others]).filter { !$0.isEmpty },
            time: now,
            isReplaying: isReplaying,
            historyLength: Int(started.eventID),
            historyBytes: Int(attributes.historySizeBytes),
            suggestsContinueAsNew: attributes.suggestContinueAsNew,
            randomSeed: reseed
        )
    }

    private mutating func lookAt(_ event: APIHistoryEvent, updates: inout [UpdateRequest]) {
        switch event.eventType {
        case .markerRecorded:
            lookahead.add(event.markerRecordedEventAttributes)
        case .workflowExecutionUpdateAccepted:
            let attributes = event.workflowExecutionUpdateAcceptedEventAttributes
            let admitted = admittedUpdates.removeValue(forKey: attributes.protocolInstanceID)
            updates.append(
                UpdateRequest(
                    instanceID: attributes.protocolInstanceID,
                    messageID: attributes.acceptedRequestMessageID,
                    sequencingEventID: attributes.acceptedRequestSequencingEventID,
                    request: attributes.hasAcceptedRequest
                        ? attributes.acceptedRequest : admitted ?? APIUpdateRequest()
                )
            )
        default: break
        }
    }

    /// Marks the local activities asked for so far as started: taking one back leaves a marker from here on.
    package mutating func settleLocalActivities() {
        localRequests += freshRequests
        freshRequests = []
    }

    /// Local activities that this replayed task recorded as done, and that the workflow has asked for.
    package mutating func nextRecordedLocalActivity() -> (OperationID, Resolution)? {
        guard let index = lookahead.localActivities.firstIndex(where: { localActivities[$0.data.seq] != nil })
        else { return nil }
        let marker = lookahead.localActivities.remove(at: index)
        guard let operation = localActivities.removeValue(forKey: marker.data.seq) else { return nil }
        let type = localRequests.first { $0.operation == operation }?.type
        recordedLocalActivities[marker.data.seq] = type ?? marker.data.activityType
        localRequests.removeAll { $0.operation == operation }
        guard operations.removeValue(forKey: operation) != nil else { return nil }
        if let completed = marker.data.completeTime { now = max(now, completed.date) }
        return (operation, marker.resolution)
    }

    /// Ends a replayed activation: its commands await their events.
    package mutating func finishActivation() {
        sent += drainUnsent()
        messages = []
    }

    /// Ends the live activation, or a part of it: what the server is to be told.
    package mutating func takeCommands() -> (commands: [APICommand], messages: [APIProtocolMessage]) {
        let commands = drainUnsent()
        defer { messages = [] }
        sent += commands
        return (commands.map(\.command), messages)
    }

    private mutating func drainUnsent() -> [PendingCommand] {
        defer { unsent = [] }
        guard let terminal else { return unsent }
        guard terminal.command.commandType != .unspecified else { return unsent }
        self.terminal?.command.commandType = .unspecified
        return unsent + [terminal]
    }

    /// After a replay: whether every command found its event.
    package func checkEnd() throws {
        if let command = sent.first(where: { !$0.isOptional }) {
            throw NondeterminismError(missing: command.command, before: nil)
        }
    }

    /// Moves time on, when a local activity ended.
    mutating func advance(to time: Date) {
        now = max(now, time)
    }
}

extension WorkflowMachine {
    /// The numbers that identify what a workflow starts, one series for each kind, as the official SDKs number them.
    struct Counters: Sendable {
        var operation = 0
        var activity: UInt32 = 0
        var timer = 0
        var child = 0
        var sideEffect = 0
    }

    /// One workflow task, as the workflow gets it.
    package struct Activation: Sendable {
        /// Sets of jobs; the workflow runs after each set.
        package var batches: [[Job]]
        package var time: Date
        package var isReplaying: Bool
        package var historyLength: Int
        package var historyBytes: Int
        package var suggestsContinueAsNew: Bool
        /// A new seed for random numbers, after a reset.
        package var randomSeed: String?
    }

    package enum Job: Sendable {
        case start(APIWorkflowExecutionStartedEventAttributes)
        case signal(APIWorkflowExecutionSignaledEventAttributes)
        case update(UpdateRequest)
        case cancel(reason: String)
        case resolve(OperationID, Resolution)
    }

    /// How an operation ended.
    package enum Resolution: Sendable {
        case completed(APIPayloads)
        case failed(APIFailure)
        /// The workflow itself gave it up.
        case canceled
        /// A child started; its run.
        case started(runID: String)
        /// A local activity failed and is to be tried again after a timer.
        case retryLater(delay: Duration, attempt: Int, scheduled: Date)
        /// The run leaves memory: whatever waits must unwind.
        case evicted
    }

    package struct UpdateRequest: Sendable {
        var instanceID: String
        var messageID: String
        var sequencingEventID: Int64
        var request: APIUpdateRequest
    }
}

extension WorkflowMachine.UpdateRequest {
    init?(_ message: APIProtocolMessage) {
        guard let request = try? APIUpdateRequest(unpackingAny: message.body) else { return nil }
        self.init(
            instanceID: message.protocolInstanceID,
            messageID: message.id,
            sequencingEventID: message.eventID,
            request: request
        )
    }
}
