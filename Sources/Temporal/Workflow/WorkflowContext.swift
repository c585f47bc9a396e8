public import Foundation
public import Logging
import SwiftProtobuf
import TemporalAPI

/// What a workflow may use: time, waits, activities, children, randomness, and facts about itself.
///
/// All of it is recorded in the run's history or follows from it, so that running the code again gives the same. The
/// context works only inside its workflow.
public struct WorkflowContext: Sendable {
    let run: WorkflowRun

    package init(run: WorkflowRun) { self.run = run }

    package var executor: WorkflowExecutor { run.executor }

    // MARK: Facts

    /// Facts about this run that don't change.
    public var info: WorkflowContext.Info { WorkflowContext.Info(run) }

    /// The time at which the workflow task in hand started; the same when it is replayed.
    public var now: Date { run.now }

    /// Whether the code runs to rebuild its state, and what it does now was done before.
    ///
    /// For observing only (logs, metrics): a decision that depends on it breaks determinism.
    public var isReplaying: Bool { run.isReplaying }

    /// How many events the history has.
    public var historyLength: Int { run.historyLength }

    /// The size of the history, in bytes; 0 where the server does not tell.
    public var historyBytes: Int { run.historyBytes }

    /// Whether the history has grown so much that the workflow should continue as a new run.
    public var isContinueAsNewSuggested: Bool { run.suggestsContinueAsNew }

    /// Whether someone asked for the workflow's cancellation.
    public var isCancelRequested: Bool { run.isCancelRequested }

    /// A logger that is silent while the workflow is replayed, and says which run it speaks of.
    public var logger: Logger {
        var logger = run.environment.logger
        logger[metadataKey: "workflow_id"] = "\(run.workflowID)"
        logger[metadataKey: "run_id"] = "\(run.runID)"
        logger[metadataKey: "workflow_type"] = "\(run.registration.name)"
        guard !run.environment.logsDuringReplay else { return logger }
        let base = logger.handler
        return Logger(label: logger.label) { _ in ReplaySilentLogHandler(base: base, run: run) }
    }

    // MARK: Randomness

    /// A random number; the same when it is replayed.
    public func random() -> UInt64 { run.nextRandom() }

    /// A random number in a range; the same when it is replayed.
    public func random<Number: FixedWidthInteger>(in range: Range<Number>) -> Number {
        var generator = Generator(run: run)
        return Number.random(in: range, using: &generator)
    }

    /// A random UUID (version 4); the same when it is replayed.
    public func uuid() -> UUID {
        let high = run.nextRandom().bigEndian
        let low = run.nextRandom().bigEndian
        var bytes = withUnsafeBytes(of: (high, low)) { Array($0) }
        bytes[6] = bytes[6] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        return bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }

    private struct Generator: RandomNumberGenerator {
        let run: WorkflowRun
        mutating func next() -> UInt64 { run.nextRandom() }
    }

    // MARK: Time

    /// Waits for a time that may be years.
    ///
    /// It costs nothing while it waits.
    ///
    /// `summary`: shown with the timer by the web interface.
    /// - Throws: `CancellationError` when the task was cancelled.
    public func sleep(for duration: Duration, summary: String? = nil) async throws {
        try await run.enter("sleep")
        guard duration > .zero else { return await Task.yield() }
        let timer = run.machine.startTimer(duration, summary: try metadata(summary))
        if case .canceled = try await run.wait(for: timer) { throw CancellationError() }
    }

    /// Waits until a point in time; not at all when it has passed.
    public func sleep(until date: Date, summary: String? = nil) async throws {
        try await sleep(for: .seconds(date.timeIntervalSince(now)), summary: summary)
    }

    /// Waits until every handler of a signal or an update has ended; to be awaited before the workflow ends.
    public func allHandlersFinished(file: StaticString = #fileID, line: UInt = #line) async throws {
        _ = try await run.wait(timeout: nil, SourcePlace(file: file, line: line)) { [run] in
            run.runningHandlers == 0
        }
    }

    // MARK: Tasks and cancellation

    /// Starts a task that runs beside the caller and outlives it; what `Task { }` is elsewhere.
    ///
    /// It ends with the run. It is a cancellation scope of its own: cancelled by ``WorkflowTask/cancel()`` only.
    @discardableResult
    public func task<Value: Sendable>(
        _ body: @escaping @Sendable () async throws -> Value
    ) -> WorkflowTask<Value> {
        WorkflowTask(task: Task(executorPreference: run.executor, operation: body))
    }

    /// Runs `body` to its end even when the caller is cancelled: for cleaning up.
    public func shielded<Value: Sendable>(
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await task(body).task.value
    }

    // MARK: Change

    /// Whether this run is to take the new way through a change of the code.
    ///
    /// New runs take it, and record that they did; runs that passed here before the change don't. Replace it with
    /// ``deprecatePatch(_:)`` when no run that started before the change is left.
    public func patched(_ id: String) -> Bool {
        guard canChange("patched") else { return false }
        return run.machine.patched(id, deprecated: false)
    }

    /// Says that every run takes the new way, while histories that recorded the choice are still around.
    public func deprecatePatch(_ id: String) {
        guard canChange("deprecatePatch") else { return }
        _ = run.machine.patched(id, deprecated: true)
    }

    /// Computes a value once and records it; for what is quick but not deterministic.
    ///
    /// It cannot wait.
    public func sideEffect<Value: Codable & Sendable>(_ body: () throws -> Value) throws -> Value {
        try run.check("sideEffect")
        let converter = run.environment.converter.payloads
        let (number, recorded) = run.machine.nextSideEffect()
        if let payload = recorded?.payloads.first {
            run.machine.recordSideEffect(number, APIPayloads([payload]))
            return try converter.decode(payload, as: Value.self)
        }
        let value = try body()
        run.machine.recordSideEffect(number, APIPayloads([try converter.encode(value)]))
        return value
    }

    /// Changes search attributes of the run.
    public func upsertSearchAttributes(_ attributes: SearchAttributes) throws {
        try run.check("upsertSearchAttributes")
        run.started?.searchAttributes.merge(attributes.fields) { $1 }
        run.machine.upsertSearchAttributes(attributes.message)
    }

    /// Changes the memo of the run; names that are not mentioned stay.
    public func upsertMemo(_ memo: Memo) throws {
        try run.check("upsertMemo")
        run.started?.memo.merge(memo.fields) { $1 }
        run.machine.upsertMemo(.with { $0.fields = memo.fields })
    }

    /// Ends this run and starts the next one of the same workflow, with an empty history.
    ///
    /// It is refused while handlers of signals or updates run, whose work would be lost: await
    /// ``allHandlersFinished(file:line:)`` first.
    public func continueAsNew(
        _ input: some Codable & Sendable,
        options: ContinueAsNewOptions = ContinueAsNewOptions()
    ) throws -> Never {
        try run.check("continueAsNew")
        guard run.runningHandlers == 0 else {
            throw WorkflowTaskError(
                "continueAsNew was refused: handlers of signals or updates still run (\(run.runningHandlers)). Await "
                    + " allHandlersFinished() first"
            )
        }
        let payloads = try run.environment.converter.payloads.encode(argument: input)
        throw ContinueAsNew(input: APIPayloads(payloads), options: options)
    }

    private func canChange(_ what: String) -> Bool {
        do { try run.check(what) } catch is CancellationError { return true } catch { return false }
        return true
    }

    func metadata(_ summary: String?) throws -> APIUserMetadata? {
        guard let summary else { return nil }
        return try .with { $0.summary = try run.environment.converter.payloads.encode(summary) }
    }
}

/// A task of a workflow, started by ``WorkflowContext/task(_:)``.
public struct WorkflowTask<Value: Sendable>: Sendable {
    let task: Task<Value, any Error>

    /// What the task returned.
    ///
    /// When the caller is cancelled while it waits, so is the task.
    public var value: Value {
        get async throws {
            try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                task.cancel()
            }
        }
    }

    public func cancel() { task.cancel() }
}

/// How a run continues as a new one; what is nil stays as it is.
public struct ContinueAsNewOptions: Sendable {
    public var workflowType: String?
    public var taskQueue: String?
    public var runTimeout: Duration?
    public var taskTimeout: Duration?
    public var retryPolicy: RetryPolicy?
    public var memo: Memo?
    public var searchAttributes: SearchAttributes?
    /// How long to wait before the new run starts.
    public var startDelay: Duration?

    public init() {}
}

struct ContinueAsNew: Error {
    let input: APIPayloads
    let options: ContinueAsNewOptions

    func command(_ started: StartedWorkflow?) -> APICommand.OneOf_Attributes {
        .continueAsNewWorkflowExecutionCommandAttributes(
            .with {
                $0.workflowType.name = options.workflowType ?? started?.attributes.workflowType.name ?? ""
                $0.taskQueue.name = options.taskQueue ?? started?.attributes.taskQueue.name ?? ""
                $0.input = input
                $0.initiator = .workflow
                if let timeout = options.runTimeout { $0.workflowRunTimeout = .init(rounding: timeout) }
                if let timeout = options.taskTimeout { $0.workflowTaskTimeout = .init(rounding: timeout) }
                if let delay = options.startDelay { $0.backoffStartInterval = .init(rounding: delay) }
                if let policy = options.retryPolicy {
                    $0.retryPolicy = policy.message
                } else if let started, started.attributes.hasRetryPolicy {
                    $0.retryPolicy = started.attributes.retryPolicy
                }
                $0.memo.fields = options.memo?.fields ?? started?.memo ?? [:]
                $0.searchAttributes.indexedFields =
                    options.searchAttributes?.fields ?? started?.searchAttributes ?? [:]
                if let started, started.attributes.hasHeader { $0.header = started.attributes.header }
            }
        )
    }
}

/// Passes records on unless the run is being replayed.
private struct ReplaySilentLogHandler: LogHandler {
    var base: any LogHandler
    let run: WorkflowRun

    var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }

    var logLevel: Logger.Level {
        get { base.logLevel }
        set { base.logLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        guard !run.isReplaying else { return }
        base.log(event: event)
    }
}
