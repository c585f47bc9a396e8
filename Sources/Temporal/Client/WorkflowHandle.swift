public import TemporalAPI

import Foundation
import SwiftProtobuf

/// A workflow to speak to: waits for its result, sends signals, queries and updates, and ends it.
public struct WorkflowHandle<Output: Decodable & Sendable>: Sendable {
    public let client: TemporalClient
    public let workflowID: String
    /// The run that calls go to; nil for whichever is the newest.
    public let runID: String?
    /// The run with which the chain of runs began that this handle was returned for.
    public let firstRunID: String?

    init(client: TemporalClient, workflowID: String, runID: String? = nil, firstRunID: String? = nil) {
        self.client = client
        self.workflowID = workflowID
        self.runID = runID
        self.firstRunID = firstRunID
    }

    var execution: APIWorkflowExecution {
        .with {
            $0.workflowID = workflowID
            $0.runID = runID ?? ""
        }
    }

    // MARK: Result

    /// Waits for the workflow's end, however long it takes, and follows it when it continues as new or is retried.
    ///
    /// - Throws: ``WorkflowFailedError`` when it ended otherwise than with a result.
    public func result() async throws -> Output {
        var runID = runID ?? firstRunID ?? ""
        while true {
            let event = try await closeEvent(of: runID)
            switch event.attributes {
            case .workflowExecutionCompletedEventAttributes(let end):
                guard end.newExecutionRunID.isEmpty else {
                    runID = end.newExecutionRunID
                    continue
                }
                let result = try await client.converter.decode(end.result.payloads)
                return try client.converter.payloads.decode(argument: result)
            case .workflowExecutionFailedEventAttributes(let end):
                guard end.newExecutionRunID.isEmpty else {
                    runID = end.newExecutionRunID
                    continue
                }
                throw failed(runID, .failed, try await client.converter.error(of: end.failure))
            case .workflowExecutionTimedOutEventAttributes(let end):
                guard end.newExecutionRunID.isEmpty else {
                    runID = end.newExecutionRunID
                    continue
                }
                throw failed(
                    runID,
                    .timedOut,
                    TimeoutFailure(message: "workflow timed out", kind: .startToClose)
                )
            case .workflowExecutionCanceledEventAttributes(let end):
                let details = try await client.converter.decode(end.details.payloads)
                throw failed(
                    runID,
                    .canceled,
                    CanceledFailure(message: "workflow canceled", details: FailureDetails(details))
                )
            case .workflowExecutionTerminatedEventAttributes(let end):
                throw failed(runID, .terminated, TerminatedFailure(message: end.reason))
            case .workflowExecutionContinuedAsNewEventAttributes(let end):
                runID = end.newExecutionRunID
            default:
                throw RPCError(
                    code: .internal,
                    message: "workflow \(workflowID) ended with \(event.eventType)"
                )
            }
        }
    }

    private func failed(
        _ runID: String,
        _ status: WorkflowStatus,
        _ cause: any TemporalFailure
    ) -> WorkflowFailedError {
        WorkflowFailedError(workflowID: workflowID, runID: runID, status: status, cause: cause)
    }

    private func closeEvent(of runID: String) async throws -> APIHistoryEvent {
        for try await event in events(runID: runID, waitsForMore: true, onlyCloseEvent: true) { return event }
        throw RPCError(code: .internal, message: "the history of workflow \(workflowID) has no end")
    }

    // MARK: Signal

    public func signal<Input>(_ signal: SignalDefinition<Input>, input: Input) async throws {
        try await self.signal(signal.name, payloads: client.converter.payloads.encode(argument: input))
    }

    public func signal(_ signal: SignalDefinition<Nothing>) async throws {
        try await self.signal(signal.name, payloads: [])
    }

    /// Sends a signal by its name, with any number of arguments.
    public func signal(_ name: String, arguments: [any Encodable & Sendable] = []) async throws {
        try await signal(name, payloads: client.converter.payloads.encode(all: arguments))
    }

    private func signal(_ name: String, payloads: [APIPayload]) async throws {
        let input = try await client.converter.encode(payloads)
        let _: APISignalWorkflowExecutionResponse = try await client.traced("SignalWorkflow", name) {
            let request = APISignalWorkflowExecutionRequest.with {
                $0.workflowExecution = execution
                $0.signalName = name
                if !input.isEmpty { $0.input = APIPayloads(input) }
                $0.identity = client.connection.identity
                $0.requestID = UUID().uuidString
                if let header = TraceHeader.current() { $0.header = header }
            }
            return try await client.call(request, workflowID: workflowID)
        }
    }

    // MARK: Query

    /// Asks a workflow, running or ended.
    ///
    /// - Throws: ``QueryFailedError`` when the workflow's handler threw or there is none, ``QueryRejectedError`` when
    ///   the workflow's status is one that `rejects` names, ``RPCError`` when no worker answers.
    public func query<Input, Answer>(
        _ query: QueryDefinition<Input, Answer>,
        input: Input,
        rejects: QueryRejection = .never
    ) async throws -> Answer {
        try await self.query(query.name, client.converter.payloads.encode(argument: input), rejects)
    }

    public func query<Answer>(
        _ query: QueryDefinition<Nothing, Answer>,
        rejects: QueryRejection = .never
    ) async throws -> Answer {
        try await self.query(query.name, [], rejects)
    }

    /// Asks by the query's name, with any number of arguments.
    public func query<Answer: Decodable & Sendable>(
        _ name: String,
        arguments: [any Encodable & Sendable] = [],
        as type: Answer.Type,
        rejects: QueryRejection = .never
    ) async throws -> Answer {
        try await query(name, client.converter.payloads.encode(all: arguments), rejects)
    }

    private func query<Answer: Decodable & Sendable>(
        _ name: String,
        _ payloads: [APIPayload],
        _ rejects: QueryRejection
    ) async throws -> Answer {
        let input = try await client.converter.encode(payloads)
        do {
            let response: APIQueryWorkflowResponse = try await client.traced("QueryWorkflow", name) {
                let request = APIQueryWorkflowRequest.with {
                    $0.execution = execution
                    $0.query.queryType = name
                    if !input.isEmpty { $0.query.queryArgs = APIPayloads(input) }
                    $0.queryRejectCondition = APIQueryRejectCondition(rawValue: rejects.rawValue) ?? .none
                    if let header = TraceHeader.current() { $0.query.header = header }
                }
                return try await client.call(request, workflowID: workflowID, retry: .longPoll)
            }
            if response.hasQueryRejected {
                throw QueryRejectedError(
                    workflowID: workflowID,
                    query: name,
                    status: WorkflowStatus(response.queryRejected.status)
                )
            }
            let answer = try await client.converter.decode(response.queryResult.payloads)
            return try client.converter.payloads.decode(argument: answer)
        } catch let error as RPCError where error.code == .invalidArgument {
            let detail = error.detail(APIQueryFailedFailure.self)
            let cause: (any TemporalFailure)? =
                if let detail, detail.hasFailure { try await client.converter.error(of: detail.failure) } else
                { nil }
            throw QueryFailedError(workflowID: workflowID, query: name, message: error.message, cause: cause)
        } catch var error as RPCError where error.code == .deadlineExceeded {
            error.message =
                "query \(name) of workflow \(workflowID) got no answer in \(client.callTimeout); "
                + "is a worker polling its task queue?"
            throw error
        }
    }

    // MARK: End

    /// Asks the workflow to end; it decides how.
    public func cancel(reason: String = "") async throws {
        let request = APIRequestCancelWorkflowExecutionRequest.with {
            $0.workflowExecution = execution
            $0.identity = client.connection.identity
            $0.requestID = UUID().uuidString
            $0.firstExecutionRunID = firstRunID ?? ""
            $0.reason = reason
        }
        _ = try await client.call(request, workflowID: workflowID)
    }

    /// Ends the workflow without asking it.
    public func terminate(reason: String = "", details: [any Encodable & Sendable] = []) async throws {
        let details = try await client.converter.encode(client.converter.payloads.encode(all: details))
        let request = APITerminateWorkflowExecutionRequest.with {
            $0.workflowExecution = execution
            $0.reason = reason
            if !details.isEmpty { $0.details = APIPayloads(details) }
            $0.identity = client.connection.identity
            $0.firstExecutionRunID = firstRunID ?? ""
        }
        _ = try await client.call(request, workflowID: workflowID)
    }

    // MARK: Look

    /// What the server knows of the workflow at this moment.
    public func describe() async throws -> WorkflowDescription {
        let request = APIDescribeWorkflowExecutionRequest.with {
            $0.execution = execution
        }
        let response = try await client.call(request, workflowID: workflowID)
        return try await WorkflowDescription(response, converter: client.converter)
    }

    /// The events of the workflow's history, oldest first; with `waitsForMore` as they happen, until its end.
    public func events(waitsForMore: Bool = false) -> PagedSequence<APIHistoryEvent> {
        events(runID: runID ?? "", waitsForMore: waitsForMore, onlyCloseEvent: false)
    }

    /// The whole history so far: to look at, to keep as JSON, or to replay.
    public func history() async throws -> WorkflowHistory {
        var history = WorkflowHistory(workflowID: workflowID)
        for try await event in events() { history.events.append(event) }
        return history
    }

    private func events(
        runID: String,
        waitsForMore: Bool,
        onlyCloseEvent: Bool
    ) -> PagedSequence<APIHistoryEvent> {
        PagedSequence { [self] token in
            let request = APIGetWorkflowExecutionHistoryRequest.with {
                $0.execution.workflowID = workflowID
                $0.execution.runID = runID
                $0.nextPageToken = token
                $0.waitNewEvent = waitsForMore
                $0.historyEventFilterType = onlyCloseEvent ? .closeEvent : .allEvent
                $0.skipArchival = true
            }
            while true {
                do {
                    let response = try await client.call(
                        request,
                        workflowID: workflowID,
                        timeout: waitsForMore ? TemporalClient.longPollTimeout : nil,
                        retry: waitsForMore ? .longPoll : .standard
                    )
                    return (response.history.events, response.nextPageToken)
                } catch let error as RPCError where waitsForMore && error.code == .deadlineExceeded {
                    // Nothing happened for a while; the wait goes on where it was.
                    continue
                }
            }
        }
    }
}
