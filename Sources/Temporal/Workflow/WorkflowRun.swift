package import Foundation
package import Logging
import SwiftProtobuf
package import TemporalAPI

/// One run of a workflow in memory: its code, suspended wherever it waits, and the machine that knows its history.
///
/// `@unchecked Sendable`: whoever holds the run has checked it out of the cache; all members are touched only by that
/// holder, one at a time, and by workflow code on ``executor`` while the holder drains it.
package final class WorkflowRun: @unchecked Sendable {
    package let executor = WorkflowExecutor()
    package let workflowID: String
    package let runID: String
    let registration: WorkflowRegistration
    let environment: WorkflowEnvironment
    var machine = WorkflowMachine()

    private var instance: (any Workflow)?
    private var main: Task<Void, Never>?
    private var pending: [WorkflowMachine.OperationID: (WorkflowMachine.Resolution) -> Void] = [:]
    /// Ends of operations that may come before anyone waits for them.
    private var kept: [WorkflowMachine.OperationID: WorkflowMachine.Resolution?] = [:]
    private var conditions: [Condition] = []
    private var conditionCount = 0
    private var generator = SplitMix64(seed: "")
    var started: StartedWorkflow?
    private(set) var historyLength = 0
    private(set) var historyBytes = 0
    private(set) var suggestsContinueAsNew = false
    private(set) var runningHandlers = 0
    private(set) var isCancelRequested = false
    private(set) var isEvicted = false
    private var callsAfterEviction = 0
    private var isReadOnly = false
    private var acceptedUpdates = 0
    private var taskError: (any Error)?

    private struct Condition {
        let id: Int
        let place: SourcePlace
        let predicate: () -> Bool
        let resume: (Result<Bool, any Error>) -> Void
        let timer: WorkflowMachine.OperationID?
    }

    package init(
        _ registration: WorkflowRegistration,
        workflowID: String,
        runID: String,
        environment: WorkflowEnvironment
    ) {
        self.registration = registration
        self.workflowID = workflowID
        self.runID = runID
        self.environment = environment
    }

    package var isComplete: Bool { machine.isComplete }
    package var isReplaying: Bool { machine.isReplaying || isReadOnly }
    package var now: Date { machine.now }
    package var libraryName: String { machine.librarySeen }

    // MARK: For the worker

    /// Applies a workflow task up to where the workflow waits again.
    ///
    /// - Throws: What must fail the workflow task; the run is then of no use any more.
    package func process(
        events: [APIHistoryEvent],
        messages: [APIProtocolMessage] = [],
        isLive: Bool = true
    ) throws {
        try checkWakeUps()
        try machine.feed(events, messages: messages, isLive: isLive)
        while let activation = try machine.nextActivation() {
            try apply(activation)
            if activation.isReplaying { machine.finishActivation() }
        }
        try checkSuspension()
    }

    /// Tells the workflow how a local activity ended.
    package func resolveLocalActivity(
        _ request: WorkflowMachine.LocalActivityRequest,
        attempt: Int,
        completed: Date,
        outcome: Result<APIPayloads, WorkflowMachine.LocalFailure>
    ) throws {
        guard
            let resolution = machine.resolveLocalActivity(
                request,
                attempt: attempt,
                completed: completed,
                outcome: outcome
            )
        else { return }
        executor.scope { resume(request.operation, resolution) }
        try settle()
        try checkSuspension()
    }

    package func takeCommands() -> (commands: [APICommand], messages: [APIProtocolMessage]) {
        machine.takeCommands()
    }

    package func takeLocalActivities() -> (
        start: [WorkflowMachine.LocalActivityRequest], cancel: [WorkflowMachine.OperationID]
    ) {
        machine.takeLocalActivities()
    }

    package func resetHistory(to eventID: Int64) { machine.resetHistory(to: eventID) }

    package func checkEnd() throws { try machine.checkEnd() }

    package var handledUpTo: Int64 { machine.handledUpTo }

    /// Answers a query about the present state.
    package func answer(_ query: APIWorkflowQuery) throws -> APIPayload {
        let converter = environment.converter.payloads
        switch query.queryType {
        case "__stack_trace": return try converter.encode(stackTrace)
        case "__temporal_workflow_metadata": return try metadata()
        default: break
        }
        guard let handler = registration.handlers.queries[query.queryType] else {
            let known = registration.handlers.queries.keys.sorted().joined(separator: ", ")
            throw ApplicationFailure(
                "workflow \(registration.name) has no query \"\(query.queryType)\"; it has: \(known)",
                type: "QueryNotFound"
            )
        }
        guard let instance else {
            throw ApplicationFailure("the workflow has not started yet", type: "NotStarted")
        }
        isReadOnly = true
        defer { isReadOnly = false }
        let answer = try executor.scope { try handler(instance, query.queryArgs.payloads, converter) }
        try throwTaskError()
        return answer
    }

    /// Whether the run has ended and none of its code waits any more: letting it go runs nothing.
    package var isAtRest: Bool {
        isComplete && pending.isEmpty && conditions.isEmpty && runningHandlers == 0
    }

    /// Lets the run go: everything that waits unwinds with an error that its code should let through.
    ///
    /// - Parameter later: Runs work on a workflow thread: for tasks that wait for something outside.
    package func evict(later: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) {
        guard !isEvicted else { return }
        isEvicted = true
        let executor = executor
        executor.onForeignWakeUp { later { _ = executor.drain(limit: 10_000) } }
        executor.scope {
            for resume in pending.values { resume(.evicted) }
            for condition in conditions { condition.resume(.failure(EvictedError())) }
            pending = [:]
            conditions = []
            main?.cancel()
        }
        _ = executor.drain(limit: 10_000)
        main = nil
        instance = nil
    }

    // MARK: Applying a task

    private func apply(_ activation: WorkflowMachine.Activation) throws {
        historyLength = activation.historyLength
        historyBytes = activation.historyBytes
        suggestsContinueAsNew = activation.suggestsContinueAsNew
        acceptedUpdates = 0
        if let seed = activation.randomSeed { generator = SplitMix64(seed: seed) }
        for batch in activation.batches { makeInstance(batch) }
        for batch in activation.batches {
            executor.scope { for job in batch { apply(job) } }
            // An update that was refused leaves nothing in history; neither may what it let through.
            let onlyUpdates = batch.allSatisfy { if case .update = $0 { true } else { false } }
            try settle(
                checkingConditions: !onlyUpdates || activation.batches.count > 1,
                onlyUpdates: onlyUpdates
            )
        }
        machine.settleLocalActivities()
        while let (operation, resolution) = machine.nextRecordedLocalActivity() {
            executor.scope { resume(operation, resolution) }
            try settle()
        }
    }

    /// The workflow exists before its first signal is handled, which may come before its start.
    private func makeInstance(_ batch: [WorkflowMachine.Job]) {
        guard instance == nil else { return }
        for case .start(let attributes) in batch {
            let seed = attributes.originalExecutionRunID
            generator = SplitMix64(seed: seed.isEmpty ? runID : seed)
            started = StartedWorkflow(attributes, time: machine.now)
            instance = executor.scope { registration.make(WorkflowContext(run: self)) }
        }
    }

    private func apply(_ job: WorkflowMachine.Job) {
        switch job {
        case .start(let attributes): start(attributes.input.payloads)
        case .signal(let signal): handle(signal)
        case .update(let update): handle(update)
        case .cancel:
            isCancelRequested = true
            main?.cancel()
        case .resolve(let operation, let resolution): resume(operation, resolution)
        }
    }

    /// Runs the workflow until everything in it waits.
    private func settle(checkingConditions: Bool = true, onlyUpdates: Bool = false) throws {
        while true {
            guard executor.drain(limit: 100_000) != nil else {
                throw WorkflowTaskError(
                    "the workflow took more than 100,000 steps without waiting for anything"
                )
            }
            try throwTaskError()
            machine.settleLocalActivities()
            guard checkingConditions || (onlyUpdates && acceptedUpdates > 0) else { return }
            let met = executor.scope { conditions.filter { $0.predicate() } }
            if met.isEmpty { return }
            let ids = Set(met.map(\.id))
            conditions.removeAll { ids.contains($0.id) }
            executor.scope {
                for condition in met {
                    if let timer = condition.timer {
                        pending[timer] = nil
                        _ = machine.cancel(timer)
                    }
                    condition.resume(.success(true))
                }
            }
        }
    }

    private func resume(_ operation: WorkflowMachine.OperationID, _ resolution: WorkflowMachine.Resolution) {
        if kept[operation] != nil { kept[operation] = .some(resolution) }
        pending.removeValue(forKey: operation)?(resolution)
    }

    private func throwTaskError() throws {
        if let error = taskError {
            taskError = nil
            throw error
        }
    }

    private func checkWakeUps() throws {
        let threads = executor.takeForeignWakeUps()
        guard let thread = threads.first else { return }
        throw WorkflowTaskError(
            "workflow \(registration.name) was woken by thread \"\(thread)\": it waited for something outside "
                + "(Task.sleep, I/O, a detached task, the main actor …) that history does not record. "
                + "Move it into an activity, or use the workflow's context"
        )
    }

    private func checkSuspension() throws {
        try checkWakeUps()
        guard !machine.isComplete, instance != nil, pending.isEmpty, conditions.isEmpty else { return }
        throw WorkflowTaskError(
            "workflow \(registration.name) waits for something outside (Task.sleep, I/O, a detached task, the main "
                + "actor …) that history does not record. Move it into an activity, or use the workflow's context"
        )
    }

    // MARK: The workflow's tasks

    private func start(_ input: [APIPayload]) {
        guard let instance else { return }
        main = Task(executorPreference: executor) { [self] in
            do {
                let output = try await registration.run(instance, input, environment.converter.payloads)
                close(
                    .completeWorkflowExecutionCommandAttributes(.with { $0.result = APIPayloads([output]) })
                )
            } catch { close(with: error) }
        }
        if isCancelRequested { main?.cancel() }
    }

    private func close(_ command: APICommand.OneOf_Attributes) {
        guard !isEvicted, !machine.isComplete else { return }
        if runningHandlers > 0, !machine.isReplaying {
            environment.logger.warning(
                "workflow ended while handlers of signals or updates were running",
                metadata: ["workflow": "\(workflowID)", "handlers": "\(runningHandlers)"]
            )
        }
        machine.close(command)
    }

    /// Ends the run, or the task, with an error of the workflow's code.
    private func close(with error: any Error) {
        if isEvicted || error is EvictedError { return }
        if let next = error as? ContinueAsNew {
            close(next.command(started))
        } else if isCancelRequested, error.isCancellation {
            close(.cancelWorkflowExecutionCommandAttributes(.init()))
        } else if isFailure(error) {
            close(.failWorkflowExecutionCommandAttributes(.with { $0.failure = failure(error) }))
        } else {
            taskError = taskError ?? error
        }
    }

    private func isFailure(_ error: any Error) -> Bool {
        error is any TemporalFailure || error.isCancellation || environment.failsWorkflow(error)
    }

    private func failure(_ error: any Error) -> APIFailure {
        environment.converter.failures.failure(of: error, by: environment.converter.payloads)
    }

    private func handle(_ signal: APIWorkflowExecutionSignaledEventAttributes) {
        guard
            let handler = registration.handlers.signals[signal.signalName] ?? registration.handlers.anySignal,
            let instance
        else {
            if !machine.isReplaying {
                environment.logger.warning(
                    "signal without a handler was dropped",
                    metadata: ["workflow": "\(workflowID)", "signal": "\(signal.signalName)"]
                )
            }
            return
        }
        spawnHandler { [self] in
            do {
                try await handler(
                    instance,
                    signal.signalName,
                    signal.input.payloads,
                    environment.converter.payloads
                )
            } catch let error as UnreadableSignal {
                // It is in the history for good: to fail on it would stop the workflow for good.
                guard !machine.isReplaying else { return }
                environment.logger.error(
                    "signal with unreadable input was dropped",
                    metadata: [
                        "workflow": "\(workflowID)", "signal": "\(signal.signalName)",
                        "error": "\(error.cause)",
                    ]
                )
            } catch { close(with: error) }
        }
    }

    private func handle(_ update: WorkflowMachine.UpdateRequest) {
        spawnHandler { [self] in
            let input = update.request.input
            guard let handler = registration.handlers.updates[input.name], let instance else {
                let known = registration.handlers.updates.keys.sorted().joined(separator: ", ")
                let error = ApplicationFailure(
                    "workflow \(registration.name) has no update \"\(input.name)\"; it has: \(known)",
                    type: "UpdateNotFound"
                )
                return machine.reject(update, failure(error))
            }
            if !machine.isReplaying {
                do {
                    isReadOnly = true
                    defer { isReadOnly = false }
                    try handler.validate(instance, input.args.payloads, environment.converter.payloads)
                } catch {
                    return machine.reject(update, failure(error))
                }
            }
            machine.accept(update)
            acceptedUpdates += 1
            var outcome = APIUpdateOutcome()
            do {
                let payload = try await handler.run(
                    instance,
                    input.args.payloads,
                    environment.converter.payloads
                )
                outcome.success = APIPayloads([payload])
            } catch  where error is ContinueAsNew || error is EvictedError || isEvicted {
                return close(with: error)
            } catch  where isFailure(error) {
                outcome.failure = failure(error)
            } catch {
                return close(with: error)
            }
            if !isEvicted { machine.complete(update, outcome) }
        }
    }

    private func spawnHandler(_ body: @escaping @Sendable () async -> Void) {
        runningHandlers += 1
        // A handler lives on its own: it outlasts the job that starts it.
        _ = Task(executorPreference: executor) { [self] in
            await body()
            runningHandlers -= 1
        }
    }
}

// MARK: - For workflow code

extension WorkflowRun {
    /// Refuses calls that come from elsewhere than the workflow's own code.
    func check(_ what: String) throws {
        guard executor.isCurrent else {
            throw WorkflowTaskError(
                "\(what) was called outside of the workflow; its context works only inside"
            )
        }
        if isEvicted { throw EvictedError() }
        guard !isReadOnly else {
            let error = WorkflowTaskError(
                "\(what) was called in a query or a validator, which must change nothing"
            )
            taskError = error
            throw error
        }
        if Task.isCancelled { throw CancellationError() }
    }

    /// Waits until an operation that the machine was asked for has ended.
    func wait(for operation: WorkflowMachine.OperationID) async throws -> WorkflowMachine.Resolution {
        let resolution = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let earlier = pending[operation]
                pending[operation] = {
                    earlier?($0)
                    continuation.resume(returning: $0)
                }
            }
        } onCancel: {
            cancel(operation)
        }
        if case .evicted = resolution { throw EvictedError() }
        return resolution
    }

    /// Keeps the operation's end for whoever asks later.
    func keep(_ operation: WorkflowMachine.OperationID) { kept[operation] = .some(nil) }

    func kept(_ operation: WorkflowMachine.OperationID) -> WorkflowMachine.Resolution? {
        kept[operation] ?? nil
    }

    func cancel(_ operation: WorkflowMachine.OperationID) {
        guard executor.isCurrent, !isEvicted else { return }
        for (operation, resolution) in machine.cancel(operation) { resume(operation, resolution) }
    }

    /// As ``check(_:)``, for calls that wait.
    ///
    /// Workflow code that goes on after its run was evicted is left waiting for good after a while, so that a loop that
    /// swallows errors comes to rest.
    func enter(_ what: String) async throws {
        if isEvicted {
            callsAfterEviction += 1
            if callsAfterEviction > 1000 {
                await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in }
            }
        }
        try check(what)
    }

    func wait(
        timeout: Duration?,
        _ place: SourcePlace,
        _ predicate: @escaping () -> Bool
    ) async throws -> Bool {
        try await enter("waitUntil")
        // The timer's number is taken even where it isn't needed, as in the official SDKs.
        let timer = timeout.map { machine.startTimer($0) }
        if predicate() {
            if let timer { _ = machine.cancel(timer) }
            return true
        }
        conditionCount += 1
        let id = conditionCount
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                conditions.append(
                    Condition(
                        id: id,
                        place: place,
                        predicate: predicate,
                        resume: { continuation.resume(with: $0) },
                        timer: timer
                    )
                )
                if let timer {
                    pending[timer] = { [self] resolution in
                        guard let condition = removeCondition(id) else { return }
                        if case .evicted = resolution { return condition.resume(.failure(EvictedError())) }
                        condition.resume(.success(false))
                    }
                }
            }
        } onCancel: {
            guard executor.isCurrent, !isEvicted, let condition = removeCondition(id) else { return }
            if let timer {
                pending[timer] = nil
                _ = machine.cancel(timer)
            }
            condition.resume(.failure(CancellationError()))
        }
    }

    private func removeCondition(_ id: Int) -> Condition? {
        conditions.firstIndex { $0.id == id }.map { conditions.remove(at: $0) }
    }

    func nextRandom() -> UInt64 {
        if isReadOnly { taskError = WorkflowTaskError("a query or a validator took a random number") }
        return generator.next()
    }

    /// Where the workflow waits, for people who ask why it doesn't go on.
    package var stackTrace: String {
        let waits = machine.operations.filter { pending[$0.key] != nil }.sorted {
            $0.key.number < $1.key.number
        }
        let conditions = conditions.map { "condition at \($0.place)" }
        let lines = waits.map { "waits for \($0.value.name)" } + conditions.map { "waits for \($0)" }
        let state = machine.isComplete ? "ended" : lines.isEmpty ? "runs" : lines.joined(separator: "\n")
        return "workflow \(registration.name) (\(workflowID))\n\(state)"
    }

    /// What the web interface asks of a workflow: which messages it understands, and what it does now.
    private func metadata() throws -> APIPayload {
        func list(_ names: some Sequence<String>) -> [[String: String]] {
            names.sorted().map { ["name": $0] }
        }
        let handlers = registration.handlers
        let builtIn = ["__stack_trace", "__temporal_workflow_metadata"]
        let body: [String: Any] = [
            "definition": [
                "type": registration.name,
                "queryDefinitions": list(handlers.queries.keys + builtIn),
                "signalDefinitions": list(handlers.signals.keys),
                "updateDefinitions": list(handlers.updates.keys),
            ],
            "currentDetails": stackTrace,
        ]
        let data = try JSONSerialization.data(withJSONObject: body, options: .sortedKeys)
        return APIPayload(encoding: "json/plain", data: data)
    }
}

/// What all runs of a worker share.
package struct WorkflowEnvironment: Sendable {
    package var namespace: String
    package var taskQueue: String
    package var converter: DataConverter
    package var logger: Logger
    package var logsDuringReplay: Bool
    package var failsWorkflow: @Sendable (any Error) -> Bool

    package init(
        namespace: String,
        taskQueue: String,
        converter: DataConverter = DataConverter(),
        logger: Logger = Logger(label: "temporal.workflow"),
        logsDuringReplay: Bool = false,
        failsWorkflow: @escaping @Sendable (any Error) -> Bool = { _ in false }
    ) {
        self.namespace = namespace
        self.taskQueue = taskQueue
        self.converter = converter
        self.logger = logger
        self.logsDuringReplay = logsDuringReplay
        self.failsWorkflow = failsWorkflow
    }
}

/// What fails a workflow task and says why: the workflow itself goes on when its code is mended.
package struct WorkflowTaskError: Error, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// The run leaves memory.
///
/// Workflow code sees this error at its last wait and should let it through.
struct EvictedError: Error, CustomStringConvertible {
    var description: String { "the workflow leaves this worker's memory; let this error through" }
}

extension Error {
    /// Whether the error says that something was cancelled: Swift's own, or a failure caused by a cancellation.
    public var isCancellation: Bool {
        switch self {
        case is CancellationError, is CanceledFailure: true
        case let failure as ActivityFailure: failure.cause is CanceledFailure
        case let failure as ChildWorkflowFailure: failure.cause is CanceledFailure
        default: false
        }
    }
}

/// A small generator of random numbers, seeded by text. (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, 2014.)
struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: String) {
        // FNV-1a.
        state = seed.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
