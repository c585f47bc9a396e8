package import TemporalAPI

/// A workflow: an actor whose `run` survives crashes, restarts and years.
///
/// ```swift
/// actor Greeting: Workflow {
///     static let approve = SignalDefinition<Bool>("approve")
///     let context: WorkflowContext
///     private var isApproved = false
///
///     init(context: WorkflowContext) { self.context = context }
///
///     static func register(_ handlers: inout WorkflowHandlers<Greeting>) {
///         handlers.signal(approve) { greeting, yes in greeting.isApproved = yes }
///     }
///
///     func run(_ name: String) async throws -> String {
///         try await waitUntil { $0.isApproved }
///         return try await context.activity(greet, name)
///     }
/// }
/// ```
///
/// Its code runs again from the start whenever the worker has to rebuild its state, and must then do the same as
/// before. So it gets time, randomness, waits and everything from outside through its ``WorkflowContext``. Within that
/// it is ordinary Swift: `async let`, task groups, other actors and functions of all kinds stay on the workflow's own
/// executor. What leaves it (`Task { }`, `Task.detached`, `Task.sleep`, the main actor, I/O) is found out and fails the
/// workflow task with a message that says so; use ``WorkflowContext/task(_:)`` and ``WorkflowContext/sleep(for:summary:)``.
///
/// Errors that are a ``TemporalFailure`` fail the workflow. Any other error is taken for a bug: it fails only the
/// workflow task, which is tried again until the code is mended.
public protocol Workflow: Actor, WorkflowDefinition {
    // Named again so that they follow from `run`.
    associatedtype Input
    associatedtype Output

    /// The workflow's only way to the world.
    nonisolated var context: WorkflowContext { get }

    init(context: WorkflowContext)

    /// The workflow, from its start to its end.
    func run(_ input: Input) async throws -> Output

    /// Says what handles the workflow's signals, queries and updates.
    static func register(_ handlers: inout WorkflowHandlers<Self>)
}

extension Workflow {
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        context.executor.asUnownedSerialExecutor()
    }

    public static func register(_ handlers: inout WorkflowHandlers<Self>) {}

    /// Waits until `condition` holds.
    ///
    /// It is asked after each step of the workflow, and must change nothing.
    ///
    /// - Throws: `CancellationError` when the task was cancelled.
    public func waitUntil(
        file: StaticString = #fileID,
        line: UInt = #line,
        _ condition: @escaping @Sendable (isolated Self) -> Bool
    ) async throws {
        let place = SourcePlace(file: file, line: line)
        _ = try await context.run.wait(timeout: nil, place) { self.assumeIsolated { condition($0) } }
    }

    /// Waits until `condition` holds, at most for `timeout`.
    ///
    /// - Returns: Whether it holds.
    /// - Throws: `CancellationError` when the task was cancelled.
    @discardableResult
    public func waitUntil(
        timeout: Duration,
        file: StaticString = #fileID,
        line: UInt = #line,
        _ condition: @escaping @Sendable (isolated Self) -> Bool
    ) async throws -> Bool {
        let place = SourcePlace(file: file, line: line)
        return try await context.run.wait(timeout: timeout, place) { self.assumeIsolated { condition($0) } }
    }
}

/// What a workflow type does with messages; filled in by ``Workflow/register(_:)``.
public struct WorkflowHandlers<W: Workflow> {
    package private(set) var table = HandlerTable()

    package init() {}

    /// Handles a signal.
    ///
    /// Signals are handled in the order of their arrival; handlers that wait run side by side.
    public mutating func signal<Input>(
        _ signal: SignalDefinition<Input>,
        _ handler: @escaping @Sendable (isolated W, Input) async throws -> Void
    ) {
        table.signals[signal.name] = { workflow, _, payloads, converter in
            let input: Input
            do { input = try converter.decode(argument: payloads) } catch {
                throw UnreadableSignal(cause: error)
            }
            guard let workflow = workflow as? W else { return }
            try await handler(workflow, input)
        }
    }

    /// Handles every signal that has no handler of its own.
    public mutating func anySignal(
        _ handler: @escaping @Sendable (isolated W, String, [RawPayload]) async throws -> Void
    ) {
        table.anySignal = { workflow, name, payloads, _ in
            guard let workflow = workflow as? W else { return }
            try await handler(workflow, name, payloads.map { RawPayload($0) })
        }
    }

    /// Answers a query.
    ///
    /// The handler must change nothing and cannot wait.
    public mutating func query<Input, Output>(
        _ query: QueryDefinition<Input, Output>,
        _ handler: @escaping @Sendable (isolated W, Input) throws -> Output
    ) {
        table.queries[query.name] = { workflow, payloads, converter in
            let input: Input = try converter.decode(argument: payloads)
            guard let workflow = workflow as? W else { return APIPayload() }
            return try converter.encode(workflow.assumeIsolated { try handler($0, input) })
        }
    }

    /// Answers a query that takes no input.
    public mutating func query<Output>(
        _ query: QueryDefinition<Nothing, Output>,
        _ handler: @escaping @Sendable (isolated W) throws -> Output
    ) {
        self.query(query) { workflow, _ in try handler(workflow) }
    }

    /// Handles an update.
    ///
    /// - Parameters:
    ///   - update: Which update.
    ///   - validate: Refuses the update by throwing; nothing of it is then recorded. It must change nothing.
    ///   - handler: Carries the update out; a ``TemporalFailure`` that it throws is the caller's answer.
    public mutating func update<Input, Output>(
        _ update: UpdateDefinition<Input, Output>,
        validate: (@Sendable (isolated W, Input) throws -> Void)? = nil,
        _ handler: @escaping @Sendable (isolated W, Input) async throws -> Output
    ) {
        table.updates[update.name] = HandlerTable.Update(
            validate: { workflow, payloads, converter in
                let input: Input = try converter.decode(argument: payloads)
                guard let validate, let workflow = workflow as? W else { return }
                try workflow.assumeIsolated { try validate($0, input) }
            },
            run: { workflow, payloads, converter in
                let input: Input = try converter.decode(argument: payloads)
                guard let workflow = workflow as? W else { return APIPayload() }
                return try converter.encode(try await handler(workflow, input))
            }
        )
    }
}

/// The input of a signal was not what its handler expects.
struct UnreadableSignal: Error {
    let cause: any Error
}

/// The handlers of a workflow type, without its types.
package struct HandlerTable: Sendable {
    package typealias Signal =
        @Sendable (any Workflow, String, [APIPayload], PayloadConverter) async throws -> Void
    package typealias Query = @Sendable (any Workflow, [APIPayload], PayloadConverter) throws -> APIPayload

    package struct Update: Sendable {
        let validate: @Sendable (any Workflow, [APIPayload], PayloadConverter) throws -> Void
        let run: @Sendable (any Workflow, [APIPayload], PayloadConverter) async throws -> APIPayload
    }

    package var signals: [String: Signal] = [:]
    package var anySignal: Signal?
    package var queries: [String: Query] = [:]
    package var updates: [String: Update] = [:]
}

/// A workflow type that a worker runs.
package struct WorkflowRegistration: Sendable {
    package let name: String
    package let handlers: HandlerTable
    let make: @Sendable (WorkflowContext) -> any Workflow
    let run: @Sendable (any Workflow, [APIPayload], PayloadConverter) async throws -> APIPayload

    package init<W: Workflow>(_ type: W.Type) {
        var handlers = WorkflowHandlers<W>()
        W.register(&handlers)
        name = W.name
        self.handlers = handlers.table
        make = { W(context: $0) }
        run = { workflow, payloads, converter in
            let input: W.Input = try converter.decode(argument: payloads)
            guard let workflow = workflow as? W else { return APIPayload() }
            return try converter.encode(try await workflow.run(input))
        }
    }
}

/// A place in the workflow's source, for stack traces.
package struct SourcePlace: Sendable, CustomStringConvertible {
    let file: StaticString
    let line: UInt

    package var description: String { "\(file):\(line)" }
}
