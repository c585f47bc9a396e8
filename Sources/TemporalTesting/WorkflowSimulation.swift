public import Temporal
public import TemporalAPI

import Foundation
import SwiftProtobuf

/// Runs a workflow without any server: activities are given as code, time passes as fast as timers need it.
///
/// ```swift
/// let simulation = try WorkflowSimulation(
///     Greeting.self, input: "Ada", activities: [ActivityRegistration(greet) { _, name in "Hi \(name)" }])
/// try await simulation.signal(Greeting.approve, true)
/// #expect(try await simulation.result() == "Hi Ada")
/// ```
///
/// It writes the history that a server would write, and can rebuild the workflow from it before each task, as a worker
/// does that lost its memory: whatever holds then holds after a crash at any moment.
public actor WorkflowSimulation<W: Workflow> {
    public private(set) var events: [APIHistoryEvent] = []
    private var now = Date(timeIntervalSince1970: 1_700_000_000)
    private var run: WorkflowRun
    private var fed = 0
    private var timers: [(id: String, started: Int64, date: Date)] = []
    private var scheduled: [(event: Int64, APIScheduleActivityTaskCommandAttributes)] = []
    private var children: [(event: Int64, APIStartChildWorkflowExecutionCommandAttributes)] = []
    private var outcome: Result<APIPayloads, any Error>?
    private let activities: [String: ActivityRegistration]
    private let childTypes: [String: any Workflow.Type]
    private let environment: WorkflowEnvironment
    private let registration: WorkflowRegistration
    private let rebuilds: Bool
    private let input: [APIPayload]

    /// - Parameters:
    ///   - type: The workflow to run.
    ///   - input: What it is given.
    ///   - activities: What its activities do here.
    ///   - children: The workflows that it may start as children; they run to their end at once.
    ///   - rebuildsBeforeEachTask: Whether the workflow is made anew from its history before each workflow task.
    /// - Throws: ``PayloadError`` when the input cannot be encoded.
    public init(
        _ type: W.Type,
        input: W.Input,
        activities: [ActivityRegistration] = [],
        children: [any Workflow.Type] = [],
        rebuildsBeforeEachTask: Bool = false
    ) throws {
        environment = WorkflowEnvironment(namespace: "default", taskQueue: "simulation")
        self.input = try environment.converter.payloads.encode(argument: input)
        self.activities = Dictionary(activities.map { ($0.name, $0) }) { $1 }
        childTypes = Dictionary(children.map { ($0.name, $0) }) { $1 }
        rebuilds = rebuildsBeforeEachTask
        registration = WorkflowRegistration(type)
        run = WorkflowRun(registration, workflowID: "simulation", runID: "run", environment: environment)
    }

    deinit { run.evict { _ in } }

    /// The history so far, for a replayer.
    public var history: WorkflowHistory { WorkflowHistory(workflowID: "simulation", events: events) }

    /// Sends a signal, and lets the workflow go on as far as it can without time passing.
    public func signal<Input>(_ signal: SignalDefinition<Input>, _ input: Input) async throws {
        start()
        let payloads = try environment.converter.payloads.encode(argument: input)
        append(.workflowExecutionSignaled) {
            $0.workflowExecutionSignaledEventAttributes = .with {
                $0.signalName = signal.name
                $0.input.payloads = payloads
            }
        }
        try await advance()
    }

    /// Asks for the workflow's cancellation, and lets it go on.
    public func cancel() async throws {
        start()
        append(.workflowExecutionCancelRequested) {
            $0.workflowExecutionCancelRequestedEventAttributes = .init()
        }
        try await advance()
    }

    /// Asks the workflow, once it has done what it can without time passing.
    public func query<Input, Output>(
        _ query: QueryDefinition<Input, Output>,
        _ input: Input
    ) async throws -> Output {
        try await advance()
        let payloads = try environment.converter.payloads.encode(argument: input)
        let answer = try run.answer(
            .with {
                $0.queryType = query.name
                $0.queryArgs.payloads = payloads
            }
        )
        return try environment.converter.payloads.decode(answer, as: Output.self)
    }

    /// Asks a query that takes no input.
    public func query<Output>(_ query: QueryDefinition<Nothing, Output>) async throws -> Output {
        try await self.query(query, Nothing())
    }

    /// Lets time pass until the workflow has ended.
    ///
    /// - Returns: What it returned.
    /// - Throws: Its failure, or ``SimulationError`` when it waits for something that never comes.
    public func result() async throws -> W.Output {
        try await advance()
        while outcome == nil {
            guard let next = timers.min(by: { $0.date < $1.date }) else {
                throw SimulationError("the workflow waits for what never comes:\n\(run.stackTrace)")
            }
            now = max(now, next.date)
            timers.removeAll { $0.id == next.id }
            append(.timerFired) {
                $0.timerFiredEventAttributes = .with {
                    $0.timerID = next.id
                    $0.startedEventID = next.started
                }
            }
            try await advance()
        }
        let payloads = try outcome?.get() ?? APIPayloads()
        return try environment.converter.payloads.decode(argument: payloads.payloads)
    }

    // MARK: The server's part

    private func append(_ type: APIEventType, _ set: (inout APIHistoryEvent) -> Void) {
        var event = APIHistoryEvent()
        event.eventID = Int64(events.count + 1)
        event.eventType = type
        event.eventTime = .init(date: now)
        set(&event)
        events.append(event)
    }

    private func start() {
        guard events.isEmpty else { return }
        append(.workflowExecutionStarted) {
            $0.workflowExecutionStartedEventAttributes = .with {
                $0.workflowType.name = registration.name
                $0.workflowID = "simulation"
                $0.originalExecutionRunID = "run"
                $0.taskQueue.name = environment.taskQueue
                $0.input.payloads = input
                $0.attempt = 1
            }
        }
    }

    /// Runs workflow tasks, activities and children until only time can bring anything new.
    private func advance() async throws {
        start()
        while outcome == nil, needsTask {
            try await runTask()
            await runActivities()
            try await runChildren()
        }
    }

    /// Whether something happened that the workflow was not told.
    private var needsTask: Bool {
        let last = events.last { $0.eventType == .workflowTaskCompleted }?.eventID ?? 0
        return events[Int(last)...].contains {
            switch $0.eventType {
            case .workflowExecutionStarted, .workflowExecutionSignaled, .workflowExecutionCancelRequested,
                .activityTaskCompleted, .activityTaskFailed, .activityTaskCanceled, .timerFired,
                .childWorkflowExecutionStarted, .childWorkflowExecutionCompleted,
                .childWorkflowExecutionFailed,
                .startChildWorkflowExecutionFailed, .signalExternalWorkflowExecutionFailed:
                true
            default: false
            }
        }
    }

    private func runTask() async throws {
        append(.workflowTaskScheduled) { $0.workflowTaskScheduledEventAttributes = .init() }
        append(.workflowTaskStarted) { $0.workflowTaskStartedEventAttributes = .init() }
        if rebuilds {
            run.evict { _ in }
            run = WorkflowRun(registration, workflowID: "simulation", runID: "run", environment: environment)
            fed = 0
        }
        try run.process(events: Array(events[fed...]))
        fed = events.count
        var requests = run.takeLocalActivities().start
        while !requests.isEmpty {
            for request in requests {
                let result = await call(request.type, request.input, RetryPolicy(maximumAttempts: 3))
                let outcome = result.map { APIPayloads([$0]) }.mapError {
                    WorkflowMachine.LocalFailure(
                        failure: environment.converter.failures.failure(
                            of: $0,
                            by: environment.converter.payloads
                        )
                    )
                }
                try run.resolveLocalActivity(request, attempt: 1, completed: now, outcome: outcome)
            }
            requests = run.takeLocalActivities().start
        }
        append(.workflowTaskCompleted) { $0.workflowTaskCompletedEventAttributes = .init() }
        for command in run.takeCommands().commands { try record(command) }
    }

    private func record(_ command: APICommand) throws {
        let id = Int64(events.count + 1)
        switch command.attributes {
        case .startTimerCommandAttributes(let attributes)?:
            append(.timerStarted) {
                $0.timerStartedEventAttributes = .with { $0.timerID = attributes.timerID }
            }
            let duration = Duration(attributes.startToFireTimeout)
            let seconds =
                Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
            timers.append((attributes.timerID, id, now.addingTimeInterval(seconds)))
        case .cancelTimerCommandAttributes(let attributes)?:
            timers.removeAll { $0.id == attributes.timerID }
            append(.timerCanceled) {
                $0.timerCanceledEventAttributes = .with { $0.timerID = attributes.timerID }
            }
        case .scheduleActivityTaskCommandAttributes(let attributes)?:
            append(.activityTaskScheduled) {
                $0.activityTaskScheduledEventAttributes = .with {
                    $0.activityID = attributes.activityID
                    $0.activityType = attributes.activityType
                    $0.input = attributes.input
                }
            }
            scheduled.append((id, attributes))
        case .requestCancelActivityTaskCommandAttributes(let attributes)?:
            append(.activityTaskCancelRequested) {
                $0.activityTaskCancelRequestedEventAttributes = .with {
                    $0.scheduledEventID = attributes.scheduledEventID
                }
            }
        case .recordMarkerCommandAttributes(let attributes)?:
            append(.markerRecorded) {
                $0.markerRecordedEventAttributes = .with {
                    $0.markerName = attributes.markerName
                    $0.details = attributes.details
                    if attributes.hasFailure { $0.failure = attributes.failure }
                }
            }
        case .upsertWorkflowSearchAttributesCommandAttributes(let attributes)?:
            append(.upsertWorkflowSearchAttributes) {
                $0.upsertWorkflowSearchAttributesEventAttributes = .with {
                    $0.searchAttributes = attributes.searchAttributes
                }
            }
        case .modifyWorkflowPropertiesCommandAttributes(let attributes)?:
            append(.workflowPropertiesModified) {
                $0.workflowPropertiesModifiedEventAttributes = .with {
                    $0.upsertedMemo = attributes.upsertedMemo
                }
            }
        case .startChildWorkflowExecutionCommandAttributes(let attributes)?:
            append(.startChildWorkflowExecutionInitiated) {
                $0.startChildWorkflowExecutionInitiatedEventAttributes = .with {
                    $0.workflowID = attributes.workflowID
                    $0.workflowType = attributes.workflowType
                }
            }
            children.append((id, attributes))
        case .signalExternalWorkflowExecutionCommandAttributes(let attributes)?:
            append(.signalExternalWorkflowExecutionInitiated) {
                $0.signalExternalWorkflowExecutionInitiatedEventAttributes = .with {
                    $0.signalName = attributes.signalName
                    $0.workflowExecution = attributes.execution
                }
            }
            append(.signalExternalWorkflowExecutionFailed) {
                $0.signalExternalWorkflowExecutionFailedEventAttributes = .with {
                    $0.initiatedEventID = id
                    $0.workflowExecution = attributes.execution
                    $0.cause = .externalWorkflowExecutionNotFound
                }
            }
        default: try close(command)
        }
    }

    private func close(_ command: APICommand) throws {
        switch command.attributes {
        case .completeWorkflowExecutionCommandAttributes(let attributes)?:
            append(.workflowExecutionCompleted) {
                $0.workflowExecutionCompletedEventAttributes = .with { $0.result = attributes.result }
            }
            outcome = .success(attributes.result)
        case .failWorkflowExecutionCommandAttributes(let attributes)?:
            append(.workflowExecutionFailed) {
                $0.workflowExecutionFailedEventAttributes = .with { $0.failure = attributes.failure }
            }
            outcome = .failure(
                environment.converter.failures.error(
                    of: attributes.failure,
                    by: environment.converter.payloads
                )
            )
        case .cancelWorkflowExecutionCommandAttributes?:
            append(.workflowExecutionCanceled) { $0.workflowExecutionCanceledEventAttributes = .init() }
            outcome = .failure(CanceledFailure())
        case .continueAsNewWorkflowExecutionCommandAttributes(let attributes)?:
            append(.workflowExecutionContinuedAsNew) {
                $0.workflowExecutionContinuedAsNewEventAttributes = .with { $0.input = attributes.input }
            }
            outcome = .failure(SimulationError("the workflow continued as a new run"))
        default: throw SimulationError("the simulation does not know \(command.summary)")
        }
    }

    private func call(
        _ type: String,
        _ input: APIPayloads,
        _ policy: RetryPolicy
    ) async -> Result<APIPayload, ApplicationFailure> {
        guard let activity = activities[type] else {
            return .failure(
                ApplicationFailure("the simulation has no activity \"\(type)\"", type: "NotFoundError")
            )
        }
        let task = APIPollActivityTaskQueueResponse.with {
            $0.activityType.name = type
            $0.input = input
        }
        return await activity.callDirectly(task, retryPolicy: policy, environment: environment)
    }

    private func runActivities() async {
        while !scheduled.isEmpty {
            let (id, attributes) = scheduled.removeFirst()
            let policy =
                attributes.hasRetryPolicy
                ? RetryPolicy(attributes.retryPolicy) : RetryPolicy(maximumAttempts: 10)
            let result = await call(attributes.activityType.name, attributes.input, policy)
            append(.activityTaskStarted) {
                $0.activityTaskStartedEventAttributes = .with { $0.scheduledEventID = id }
            }
            switch result {
            case .success(let payload):
                append(.activityTaskCompleted) {
                    $0.activityTaskCompletedEventAttributes = .with {
                        $0.scheduledEventID = id
                        $0.result.payloads = [payload]
                    }
                }
            case .failure(let error):
                let failure = environment.converter.failures.failure(
                    of: error,
                    by: environment.converter.payloads
                )
                append(.activityTaskFailed) {
                    $0.activityTaskFailedEventAttributes = .with {
                        $0.scheduledEventID = id
                        $0.failure = failure
                    }
                }
            }
        }
    }

    private func runChildren() async throws {
        while !children.isEmpty {
            let (id, attributes) = children.removeFirst()
            guard let type = childTypes[attributes.workflowType.name] else {
                throw SimulationError(
                    "the simulation has no child workflow \"\(attributes.workflowType.name)\""
                )
            }
            let execution = APIWorkflowExecution.with {
                $0.workflowID = attributes.workflowID
                $0.runID = "run-of-\(attributes.workflowID)"
            }
            append(.childWorkflowExecutionStarted) {
                $0.childWorkflowExecutionStartedEventAttributes = .with {
                    $0.initiatedEventID = id
                    $0.workflowExecution = execution
                }
            }
            let result = try await runChild(type, attributes.input.payloads)
            switch result {
            case .success(let payload):
                append(.childWorkflowExecutionCompleted) {
                    $0.childWorkflowExecutionCompletedEventAttributes = .with {
                        $0.initiatedEventID = id
                        $0.result.payloads = [payload]
                    }
                }
            case .failure(let error):
                let failure = environment.converter.failures.failure(
                    of: error,
                    by: environment.converter.payloads
                )
                append(.childWorkflowExecutionFailed) {
                    $0.childWorkflowExecutionFailedEventAttributes = .with {
                        $0.initiatedEventID = id
                        $0.failure = failure
                    }
                }
            }
        }
    }

    private func runChild<Child: Workflow>(
        _ type: Child.Type,
        _ input: [APIPayload]
    ) async throws -> Result<APIPayload, any Error> {
        let converter = environment.converter.payloads
        let child = try WorkflowSimulation<Child>(
            type,
            input: converter.decode(argument: input),
            activities: Array(activities.values),
            children: Array(childTypes.values),
            rebuildsBeforeEachTask: rebuilds
        )
        do { return .success(try converter.encode(try await child.result())) } catch {
            return .failure(error)
        }
    }
}

/// A simulated workflow that cannot go on.
public struct SimulationError: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}
