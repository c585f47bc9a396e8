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
            if let next = event.nextRunID {
                runID = next
                continue
            }
            switch event.attributes {
            case .workflowExecutionCompletedEventAttributes(let end):
                let result = try await client.converter.decode(end.result.payloads)
                return try client.converter.payloads.decode(argument: result)
            case .workflowExecutionFailedEventAttributes(let end):
                throw failed(runID, .failed, try await client.converter.error(of: end.failure))
            case .workflowExecutionTimedOutEventAttributes:
                let cause = TimeoutFailure(message: "workflow timed out", kind: .startToClose)
                throw failed(runID, .timedOut, cause)
            case .workflowExecutionCanceledEventAttributes(let end):
                let details = FailureDetails(try await client.converter.decode(end.details.payloads))
                throw failed(
                    runID,
                    .canceled,
                    CanceledFailure(message: "workflow canceled", details: details)
                )
            case .workflowExecutionTerminatedEventAttributes(let end):
                throw failed(runID, .terminated, TerminatedFailure(message: end.reason))
            default:
                let message = "workflow \(workflowID) ended with \(event.eventType)"
                throw RPCError(code: .internal, message: message)
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
        try await self.signal(signal.name, arguments: [input])
    }

    public func signal(_ signal: SignalDefinition<Nothing>) async throws {
        try await self.signal(signal.name)
    }

    /// Sends a signal by its name, with any number of arguments.
    public func signal(_ name: String, arguments: [any Encodable & Sendable] = []) async throws {
        let input = try await client.converter.encode(client.converter.payloads.encode(all: arguments))
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
        try await self.query(query.name, arguments: [input], as: Answer.self, rejects: rejects)
    }

    public func query<Answer>(
        _ query: QueryDefinition<Nothing, Answer>,
        rejects: QueryRejection = .never
    ) async throws -> Answer {
        try await self.query(query.name, as: Answer.self, rejects: rejects)
    }

    /// Asks by the query's name, with any number of arguments.
    public func query<Answer: Decodable & Sendable>(
        _ name: String,
        arguments: [any Encodable & Sendable] = [],
        as type: Answer.Type,
        rejects: QueryRejection = .never
    ) async throws -> Answer {
        let input = try await client.converter.encode(client.converter.payloads.encode(all: arguments))
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

extension APIHistoryEvent {
    /// The run that goes on after the one that this event ended, if any does.
    fileprivate var nextRunID: String? {
        let id: String =
            switch attributes {
            case .workflowExecutionCompletedEventAttributes(let a): a.newExecutionRunID
            case .workflowExecutionFailedEventAttributes(let a): a.newExecutionRunID
            case .workflowExecutionTimedOutEventAttributes(let a): a.newExecutionRunID
            case .workflowExecutionContinuedAsNewEventAttributes(let a): a.newExecutionRunID
            default: ""
            }
        return id.isEmpty ? nil : id
    }
}
