import Foundation
import SwiftProtobuf
import TemporalAPI

extension WorkflowContext {
    /// Runs a child workflow and waits for its result.
    ///
    /// - Throws: ``ChildWorkflowFailure``, with the reason as its cause.
    public func child<Child: WorkflowDefinition>(
        _ type: Child.Type,
        _ input: Child.Input,
        options: ChildWorkflowOptions = ChildWorkflowOptions()
    ) async throws -> Child.Output {
        try await startChild(type, input, options: options).result()
    }

    /// Starts a child workflow, and returns once it has started.
    public func startChild<Child: WorkflowDefinition>(
        _ type: Child.Type,
        _ input: Child.Input,
        options: ChildWorkflowOptions = ChildWorkflowOptions()
    ) async throws -> ChildWorkflowHandle<Child.Output> {
        try await startChild(name: type.name, arguments: [input], options: options)
    }

    /// Starts a child workflow by name, with any number of arguments: for workflows written with other SDKs.
    public func startChild<Output: Codable & Sendable>(
        name: String,
        arguments: [any Encodable & Sendable],
        options: ChildWorkflowOptions = ChildWorkflowOptions(),
        as type: Output.Type = Output.self
    ) async throws -> ChildWorkflowHandle<Output> {
        try await run.enter("child workflow \(name)")
        let input = try run.environment.converter.payloads.encode(
            all: arguments.filter { !($0 is Nothing) }
        )
        let attributes = APIStartChildWorkflowExecutionCommandAttributes.with {
            $0.workflowType.name = name
            $0.workflowID = options.workflowID ?? ""
            $0.taskQueue.name = options.taskQueue ?? run.environment.taskQueue
            if !input.isEmpty { $0.input = APIPayloads(input) }
            if !header.fields.isEmpty { $0.header = header }
            options.set(&$0)
        }
        let generated = options.workflowID == nil ? uuid().uuidString.lowercased() : ""
        let (start, result) = run.machine.startChild(
            attributes,
            cancellation: options.cancellation,
            generatedID: generated,
            summary: try metadata(options.summary)
        )
        run.keep(result)
        _ = try value(try await run.wait(for: start))
        let child = run.machine.child(result)
        return ChildWorkflowHandle(
            workflowID: child?.workflowID ?? attributes.workflowID,
            runID: child?.runID ?? "",
            context: self,
            result: result
        )
    }

    /// Another workflow of the namespace, to send messages to.
    public func workflow(id: String, runID: String = "") -> ExternalWorkflowHandle {
        ExternalWorkflowHandle(workflowID: id, runID: runID, context: self)
    }

    fileprivate func signal<Input>(
        _ signal: SignalDefinition<Input>,
        _ input: Input,
        to workflow: APIWorkflowExecution,
        isChild: Bool
    ) async throws {
        try await run.enter("signal \(signal.name)")
        let payloads = try run.environment.converter.payloads.encode(argument: input)
        let operation = run.machine.signalExternal(
            .with {
                $0.execution = workflow
                $0.signalName = signal.name
                $0.childWorkflowOnly = isChild
                if !payloads.isEmpty { $0.input = APIPayloads(payloads) }
                if !header.fields.isEmpty { $0.header = header }
            }
        )
        _ = try value(try await run.wait(for: operation))
    }

    fileprivate func cancel(_ workflow: APIWorkflowExecution, reason: String) async throws {
        try await run.enter("cancel")
        let operation = run.machine.cancelExternal(
            .with {
                $0.workflowID = workflow.workflowID
                $0.runID = workflow.runID
                $0.reason = reason
            }
        )
        _ = try value(try await run.wait(for: operation))
    }
}

/// A child workflow that has started.
public struct ChildWorkflowHandle<Output: Codable & Sendable>: Sendable {
    public let workflowID: String
    public let runID: String
    let context: WorkflowContext
    let result: WorkflowMachine.OperationID

    /// Waits for the child's end.
    ///
    /// Cancelling the waiting task cancels the child, as its options say.
    public func result() async throws -> Output {
        let run = context.run
        if let known = run.kept(result) { return try context.decode(context.value(known)) }
        try await run.enter("result")
        return try context.decode(context.value(try await run.wait(for: result)))
    }

    /// Sends the child a signal; returns when it has arrived.
    public func signal<Input>(_ signal: SignalDefinition<Input>, _ input: Input) async throws {
        try await context.signal(signal, input, to: .with { $0.workflowID = workflowID }, isChild: true)
    }

    /// Asks for the child's cancellation, without waiting for its end.
    public func cancel() { context.run.cancel(result) }
}

/// Another workflow, known by its identifier.
public struct ExternalWorkflowHandle: Sendable {
    public let workflowID: String
    public let runID: String
    let context: WorkflowContext

    /// Sends the workflow a signal; returns when it has arrived.
    ///
    /// - Throws: ``ApplicationFailure`` of type `WorkflowNotFound` when no such workflow runs.
    public func signal<Input>(_ signal: SignalDefinition<Input>, _ input: Input) async throws {
        try await context.signal(signal, input, to: execution, isChild: false)
    }

    /// Asks for the workflow's cancellation; returns when the request has arrived.
    public func cancel(reason: String = "") async throws {
        try await context.cancel(execution, reason: reason)
    }

    private var execution: APIWorkflowExecution {
        .with {
            $0.workflowID = workflowID
            $0.runID = runID
        }
    }
}
