import TemporalAPI

import Foundation
import SwiftProtobuf

extension WorkflowHandle {
    /// Sends an update and waits for its answer.
    ///
    /// `timeout` is how long the workflow may take to accept it; its answer may take any time after that.
    /// - Throws: ``UpdateFailedError`` when the workflow refused it or its handler threw.
    public func update<Input, Answer>(
        _ update: UpdateDefinition<Input, Answer>,
        input: Input,
        id: String? = nil,
        timeout: Duration = .seconds(60)
    ) async throws -> Answer {
        try await startUpdate(update, input: input, id: id, waitFor: .completed, timeout: timeout).result()
    }

    /// Sends an update that takes no input and waits for its answer.
    public func update<Answer>(
        _ update: UpdateDefinition<Nothing, Answer>,
        id: String? = nil,
        timeout: Duration = .seconds(60)
    ) async throws -> Answer {
        try await self.update(update, input: Nothing(), id: id, timeout: timeout)
    }

    /// Sends an update by its name, with any number of arguments, and waits for its answer.
    public func update<Answer: Decodable & Sendable>(
        _ name: String,
        arguments: [any Encodable & Sendable] = [],
        as type: Answer.Type,
        id: String? = nil,
        timeout: Duration = .seconds(60)
    ) async throws -> Answer {
        try await startUpdate(
            name,
            arguments: arguments,
            as: type,
            id: id,
            waitFor: .completed,
            timeout: timeout
        )
        .result()
    }

    /// Sends an update and returns when the workflow has accepted it (or has answered it already).
    ///
    /// - Throws: ``UpdateFailedError`` when the workflow refused it.
    public func startUpdate<Input, Answer>(
        _ update: UpdateDefinition<Input, Answer>,
        input: Input,
        id: String? = nil,
        waitFor stage: UpdateStage = .accepted,
        timeout: Duration = .seconds(60)
    ) async throws -> UpdateHandle<Answer> {
        try await startUpdate(
            update.name,
            arguments: [input],
            as: Answer.self,
            id: id,
            waitFor: stage,
            timeout: timeout
        )
    }

    /// Sends an update by its name, with any number of arguments, and returns when the workflow has accepted it.
    public func startUpdate<Answer: Decodable & Sendable>(
        _ name: String,
        arguments: [any Encodable & Sendable] = [],
        as type: Answer.Type,
        id: String? = nil,
        waitFor stage: UpdateStage = .accepted,
        timeout: Duration = .seconds(60)
    ) async throws -> UpdateHandle<Answer> {
        try await client.traced("StartWorkflowUpdate", name) {
            var request = try await client.updateRequest(
                name,
                arguments,
                workflowID: workflowID,
                id: id,
                stage: stage
            )
            request.workflowExecution.runID = runID ?? ""
            request.firstExecutionRunID = firstRunID ?? ""
            let sent = request
            let response = try await client.untilAccepted(sent, within: timeout) { wait in
                try await client.call(sent, workflowID: workflowID, timeout: wait, retry: .longPoll)
            }
            return client.handle(of: sent, response)
        }
    }

    /// A handle of an update that was sent before.
    public func updateHandle<Answer: Decodable & Sendable>(
        id: String,
        as type: Answer.Type = Nothing.self
    ) -> UpdateHandle<Answer> {
        UpdateHandle(client: client, workflowID: workflowID, runID: runID, id: id, outcome: nil)
    }
}

/// How far an update has to be before a call returns.
public enum UpdateStage: Int, Sendable {
    /// The workflow's validator let it in.
    case accepted = 2
    /// Its handler has returned or thrown.
    case completed = 3
}

/// An update that a workflow has accepted.
public struct UpdateHandle<Answer: Decodable & Sendable>: Sendable {
    public let client: TemporalClient
    public let workflowID: String
    public let runID: String?
    public let id: String
    let outcome: APIUpdateOutcome?

    /// Waits for the answer, however long it takes.
    ///
    /// - Throws: ``UpdateFailedError`` when the handler threw.
    public func result() async throws -> Answer {
        var outcome = outcome
        while outcome == nil {
            let request = APIPollWorkflowExecutionUpdateRequest.with {
                $0.updateRef.workflowExecution.workflowID = workflowID
                $0.updateRef.workflowExecution.runID = runID ?? ""
                $0.updateRef.updateID = id
                $0.identity = client.connection.identity
                $0.waitPolicy.lifecycleStage = .completed
            }
            do {
                let response = try await client.call(
                    request,
                    workflowID: workflowID,
                    timeout: TemporalClient.longPollTimeout,
                    retry: .longPoll
                )
                if response.hasOutcome { outcome = response.outcome }
            } catch let error as RPCError where error.code == .deadlineExceeded {
                continue
            }
        }
        switch outcome?.value {
        case .success(let answer):
            let payloads = try await client.converter.decode(answer.payloads)
            return try client.converter.payloads.decode(argument: payloads)
        case .failure(let failure):
            throw UpdateFailedError(
                workflowID: workflowID,
                updateID: id,
                cause: try await client.converter.error(of: failure)
            )
        case nil:
            return try client.converter.payloads.decode(argument: [])
        }
    }
}

// MARK: Update and start

extension TemporalClient {
    /// Sends an update to a workflow and starts the workflow first when it isn't running, as one step.
    ///
    /// - Parameters:
    ///   - workflow: the workflow's type.
    ///   - input: what it starts with, if it starts.
    ///   - options: how it starts; without an ID conflict policy a running workflow is used.
    ///   - update: the update.
    ///   - updateInput: the update's input.
    ///   - updateID: names the update; nil for a name that no other has.
    ///   - stage: how far the update has to be.
    ///   - timeout: how long the workflow may take to accept it.
    /// - Returns: the update; ``handle(for:id:runID:)`` gives the workflow.
    /// - Throws: ``UpdateFailedError``, ``WorkflowAlreadyStartedError`` or ``RPCError``.
    public func updateWithStart<Workflow: WorkflowDefinition, Input, Answer>(
        _ workflow: Workflow.Type,
        input: Workflow.Input,
        options: StartWorkflowOptions,
        update: UpdateDefinition<Input, Answer>,
        updateInput: Input,
        updateID: String? = nil,
        waitFor stage: UpdateStage = .accepted,
        timeout: Duration = .seconds(60)
    ) async throws -> UpdateHandle<Answer> {
        try await updateWithStart(
            Workflow.name,
            arguments: [input],
            options: options,
            update: update.name,
            updateArguments: [updateInput],
            as: Answer.self,
            updateID: updateID,
            waitFor: stage,
            timeout: timeout
        )
    }

    /// Sends an update to a workflow by names and starts the workflow first when it isn't running, as one step.
    public func updateWithStart<Answer: Decodable & Sendable>(
        _ workflow: String,
        arguments: [any Encodable & Sendable] = [],
        options: StartWorkflowOptions,
        update: String,
        updateArguments: [any Encodable & Sendable] = [],
        as type: Answer.Type,
        updateID: String? = nil,
        waitFor stage: UpdateStage = .accepted,
        timeout: Duration = .seconds(60)
    ) async throws -> UpdateHandle<Answer> {
        var options = options
        options.idConflictPolicy = options.idConflictPolicy ?? .useExisting
        let startOptions = options
        return try await traced("UpdateWithStartWorkflow", workflow) {
            let start = try await startRequest(workflow, arguments, startOptions)
            let sent = try await updateRequest(
                update,
                updateArguments,
                workflowID: startOptions.id,
                id: updateID,
                stage: stage
            )
            let request = APIExecuteMultiOperationRequest.with {
                $0.operations = [.with { $0.startWorkflow = start }, .with { $0.updateWorkflow = sent }]
            }
            let response = try await untilAccepted(sent, within: timeout) { wait in
                do {
                    let response = try await connection.call(request, timeout: wait, retry: .longPoll)
                    return response.responses.last?.updateWorkflow ?? APIUpdateWorkflowExecutionResponse()
                } catch let error as RPCError {
                    throw clientError(Self.firstFailure(in: error), workflowID: startOptions.id)
                }
            }
            return handle(of: sent, response)
        }
    }

    /// Makes a call until the workflow has accepted its update.
    ///
    /// The server answers before that when it takes long; the update's identifier makes all calls one update.
    /// - Throws: ``RPCError`` (`deadlineExceeded`) when it takes longer than `limit`.
    fileprivate func untilAccepted(
        _ update: APIUpdateWorkflowExecutionRequest,
        within limit: Duration,
        _ call: (Duration) async throws -> APIUpdateWorkflowExecutionResponse
    ) async throws -> APIUpdateWorkflowExecutionResponse {
        let start = ContinuousClock.now
        while true {
            let left = limit - start.duration(to: .now)
            guard left > .zero else {
                throw RPCError(
                    code: .deadlineExceeded,
                    message: "update \(update.request.input.name) of workflow "
                        + "\(update.workflowExecution.workflowID) was not accepted in \(limit); "
                        + "is a worker polling its task queue?"
                )
            }
            do {
                let response = try await call(min(left, Self.longPollTimeout))
                let accepted = APIUpdateWorkflowExecutionLifecycleStage.accepted
                if response.stage.rawValue >= accepted.rawValue { return response }
            } catch let error as RPCError where error.code == .deadlineExceeded {}
        }
    }

    /// The operation that failed by itself, not because another did.
    private static func firstFailure(in error: RPCError) -> RPCError {
        guard let detail = error.detail(APIMultiOperationExecutionFailure.self) else { return error }
        let failures = detail.statuses.filter {
            $0.code != RPCError.Code.ok.rawValue && $0.code != RPCError.Code.aborted.rawValue
        }
        // A status of another type has the same fields, so its bytes are details as they are.
        guard let first = failures.first, let code = RPCError.Code(rawValue: Int(first.code)),
            let details: [UInt8] = try? first.serializedBytes()
        else { return error }
        return RPCError(code: code, message: first.message, details: details)
    }

    func updateRequest(
        _ name: String,
        _ arguments: [any Encodable & Sendable],
        workflowID: String,
        id: String?,
        stage: UpdateStage
    ) async throws -> APIUpdateWorkflowExecutionRequest {
        let input = try await converter.encode(converter.payloads.encode(all: arguments))
        return .with {
            $0.workflowExecution.workflowID = workflowID
            $0.waitPolicy.lifecycleStage =
                APIUpdateWorkflowExecutionLifecycleStage(rawValue: stage.rawValue) ?? .accepted
            $0.request.meta.updateID = id ?? UUID().uuidString
            $0.request.meta.identity = connection.identity
            $0.request.input.name = name
            if !input.isEmpty { $0.request.input.args = APIPayloads(input) }
            if let header = TraceHeader.current() { $0.request.input.header = header }
        }
    }

    fileprivate func handle<Answer>(
        of request: APIUpdateWorkflowExecutionRequest,
        _ response: APIUpdateWorkflowExecutionResponse
    ) -> UpdateHandle<Answer> {
        let runID = response.updateRef.workflowExecution.runID
        return UpdateHandle(
            client: self,
            workflowID: request.workflowExecution.workflowID,
            runID: runID.isEmpty ? nil : runID,
            id: request.request.meta.updateID,
            outcome: response.hasOutcome ? response.outcome : nil
        )
    }
}
