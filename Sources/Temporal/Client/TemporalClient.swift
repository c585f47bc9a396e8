import TemporalAPI

import Foundation
import SwiftProtobuf

/// Starts workflows and speaks to them.
///
/// ```swift
/// let client = TemporalClient(connection: TemporalConnection(.init(host: "127.0.0.1", port: 7233)))
/// let handle = try await client.start(Greeting.self, input: "world", options: .init(id: "greet-1", taskQueue: "hello"))
/// print(try await handle.result())
/// ```
///
/// Workflows of other SDKs are called by their names, with ``start(_:arguments:options:output:)``.
public struct TemporalClient: Sendable {
    public let connection: TemporalConnection
    public let converter: DataConverter
    /// How long a call may take with all its attempts, unless it waits for a workflow.
    public var callTimeout: Duration = .seconds(30)
    /// How long one request may wait at the server for something to happen; the wait goes on with the next one.
    static let longPollTimeout: Duration = .seconds(70)

    public init(connection: TemporalConnection, converter: DataConverter = DataConverter()) {
        self.connection = connection
        self.converter = converter
    }

    public var namespace: String { connection.namespace }

    // MARK: Start

    /// Starts a workflow.
    ///
    /// - Throws: ``WorkflowAlreadyStartedError`` where the policies in `options` do not allow the ID.
    @discardableResult
    public func start<Workflow: WorkflowDefinition>(
        _ workflow: Workflow.Type,
        input: Workflow.Input,
        options: StartWorkflowOptions
    ) async throws -> WorkflowHandle<Workflow.Output> {
        try await start(Workflow.name, arguments: [input], options: options, output: Workflow.Output.self)
    }

    /// Starts a workflow that takes no input.
    @discardableResult
    public func start<Workflow: WorkflowDefinition>(
        _ workflow: Workflow.Type,
        options: StartWorkflowOptions
    ) async throws -> WorkflowHandle<Workflow.Output> where Workflow.Input == Nothing {
        try await start(workflow, input: Nothing(), options: options)
    }

    /// Starts a workflow by its name, with any number of arguments.
    @discardableResult
    public func start<Output: Decodable & Sendable>(
        _ workflow: String,
        arguments: [any Encodable & Sendable] = [],
        options: StartWorkflowOptions,
        output: Output.Type = Nothing.self
    ) async throws -> WorkflowHandle<Output> {
        let response: APIStartWorkflowExecutionResponse = try await traced("StartWorkflow", workflow) {
            let request = try await startRequest(workflow, arguments, options)
            return try await call(request, workflowID: options.id)
        }
        return WorkflowHandle(client: self, workflowID: options.id, firstRunID: response.runID)
    }

    /// Starts a workflow and waits for its result.
    public func execute<Workflow: WorkflowDefinition>(
        _ workflow: Workflow.Type,
        input: Workflow.Input,
        options: StartWorkflowOptions
    ) async throws -> Workflow.Output {
        try await start(workflow, input: input, options: options).result()
    }

    // MARK: Signal and start

    /// Sends a signal to a workflow, and starts the workflow first when it isn't running.
    @discardableResult
    public func signalWithStart<Workflow: WorkflowDefinition, Signal>(
        _ workflow: Workflow.Type,
        input: Workflow.Input,
        options: StartWorkflowOptions,
        signal: SignalDefinition<Signal>,
        signalInput: Signal
    ) async throws -> WorkflowHandle<Workflow.Output> {
        try await signalWithStart(
            Workflow.name,
            arguments: [input],
            options: options,
            signal: signal.name,
            signalArguments: [signalInput],
            output: Workflow.Output.self
        )
    }

    /// Sends a signal to a workflow by names, and starts the workflow first when it isn't running.
    @discardableResult
    public func signalWithStart<Output: Decodable & Sendable>(
        _ workflow: String,
        arguments: [any Encodable & Sendable] = [],
        options: StartWorkflowOptions,
        signal: String,
        signalArguments: [any Encodable & Sendable] = [],
        output: Output.Type = Nothing.self
    ) async throws -> WorkflowHandle<Output> {
        let signalInput = try await converter.encode(converter.payloads.encode(all: signalArguments))
        let response: APISignalWithStartWorkflowExecutionResponse = try await traced(
            "SignalWithStartWorkflow",
            workflow
        ) {
            var request = APISignalWithStartWorkflowExecutionRequest()
            try await fill(&request, workflow, converter.payloads.encode(all: arguments), options)
            request.identity = connection.identity
            request.requestID = options.requestID ?? UUID().uuidString
            request.workflowIDConflictPolicy = options.conflictPolicy
            if let delay = options.startDelay { request.workflowStartDelay = .init(rounding: delay) }
            request.signalName = signal
            if !signalInput.isEmpty { request.signalInput = APIPayloads(signalInput) }
            return try await call(request, workflowID: options.id)
        }
        return WorkflowHandle(client: self, workflowID: options.id, firstRunID: response.runID)
    }

    // MARK: Handles

    /// A handle of a workflow that was started by somebody else; of its newest run unless `runID` names one.
    public func handle<Workflow: WorkflowDefinition>(
        for workflow: Workflow.Type,
        id: String,
        runID: String? = nil
    ) -> WorkflowHandle<Workflow.Output> {
        WorkflowHandle(client: self, workflowID: id, runID: runID)
    }

    /// A handle of any workflow.
    public func handle<Output: Decodable & Sendable>(
        id: String,
        runID: String? = nil,
        output: Output.Type = Nothing.self
    ) -> WorkflowHandle<Output> {
        WorkflowHandle(client: self, workflowID: id, runID: runID)
    }

    // MARK: Visibility

    /// The workflows that a query finds, in Temporal's list filter syntax, such as `WorkflowType = 'Greeting'`.
    ///
    /// Workflows appear in listings a moment after they start.
    public func list(_ query: String = "", pageSize: Int = 100) -> PagedSequence<WorkflowInfo> {
        PagedSequence { [self] token in
            let request = APIListWorkflowExecutionsRequest.with {
                $0.pageSize = Int32(clamping: pageSize)
                $0.query = query
                $0.nextPageToken = token
            }
            let response = try await call(request)
            var workflows: [WorkflowInfo] = []
            for execution in response.executions {
                workflows.append(try await WorkflowInfo(execution, converter: converter))
            }
            return (workflows, response.nextPageToken)
        }
    }

    /// How many workflows a query finds.
    public func count(_ query: String = "") async throws -> Int {
        let request = APICountWorkflowExecutionsRequest.with {
            $0.query = query
        }
        let response = try await call(request)
        return Int(response.count)
    }

    // MARK: Requests

    /// Makes a call and tells its error in the client's terms.
    func call<Request: ServiceRequest>(
        _ request: Request,
        workflowID: String = "",
        timeout: Duration? = nil,
        retry: CallRetry = .standard
    ) async throws -> Request.Answer {
        do {
            return try await connection.call(request, timeout: timeout ?? callTimeout, retry: retry)
        } catch let error as RPCError {
            throw clientError(error, workflowID: workflowID)
        }
    }

    func clientError(_ error: RPCError, workflowID: String) -> any Error {
        switch error.code {
        case .alreadyExists:
            guard let detail = error.detail(APIWorkflowExecutionAlreadyStartedFailure.self) else {
                return error
            }
            return WorkflowAlreadyStartedError(workflowID: workflowID, runID: detail.runID)
        case .notFound where !workflowID.isEmpty:
            return WorkflowNotFoundError(workflowID: workflowID, message: error.message)
        default:
            return error
        }
    }
}
