import SwiftProtobuf
import TemporalAPI

/// Applies the codecs to all payloads of messages that workers exchange with the server. Without codecs nothing is
/// touched.
extension DataConverter {
    private typealias Change = ([APIPayload]) async throws -> [APIPayload]

    func decode(events: [APIHistoryEvent]) async throws -> [APIHistoryEvent] {
        guard !codecs.isEmpty else { return events }
        var events = events
        for index in events.indices { try await decode(&events[index]) }
        return events
    }

    func encode(commands: [APICommand]) async throws -> [APICommand] {
        guard !codecs.isEmpty else { return commands }
        var commands = commands
        for index in commands.indices { try await encode(&commands[index]) }
        return commands
    }

    func decode(query: APIWorkflowQuery) async throws -> APIWorkflowQuery {
        guard !codecs.isEmpty else { return query }
        var query = query
        query.queryArgs.payloads = try await decode(query.queryArgs.payloads)
        return query
    }

    func decode(messages: [APIProtocolMessage]) async throws -> [APIProtocolMessage] {
        guard !codecs.isEmpty else { return messages }
        var messages = messages
        for index in messages.indices where messages[index].body.isA(APIUpdateRequest.self) {
            var request = try APIUpdateRequest(unpackingAny: messages[index].body)
            try await change(&request) { try await decode($0) }
            messages[index].body = try .init(message: request)
        }
        return messages
    }

    func encode(messages: [APIProtocolMessage]) async throws -> [APIProtocolMessage] {
        guard !codecs.isEmpty else { return messages }
        var messages = messages
        for index in messages.indices {
            let body = messages[index].body
            if body.isA(APIUpdateAcceptance.self) {
                var message = try APIUpdateAcceptance(unpackingAny: body)
                try await change(&message.acceptedRequest) { try await encode($0) }
                messages[index].body = try .init(message: message)
            } else if body.isA(APIUpdateRejection.self) {
                var message = try APIUpdateRejection(unpackingAny: body)
                try await change(&message.rejectedRequest) { try await encode($0) }
                message.failure = try await encode(message.failure)
                messages[index].body = try .init(message: message)
            } else if body.isA(APIUpdateResponse.self) {
                var message = try APIUpdateResponse(unpackingAny: body)
                switch message.outcome.value {
                case .success(let payloads):
                    message.outcome.success.payloads = try await encode(payloads.payloads)
                case .failure(let failure): message.outcome.failure = try await encode(failure)
                case nil: break
                }
                messages[index].body = try .init(message: message)
            }
        }
        return messages
    }

    private func change(_ request: inout APIUpdateRequest, _ change: Change) async throws {
        request.input.args.payloads = try await change(request.input.args.payloads)
    }

    // MARK: Events

    private func decode(_ event: inout APIHistoryEvent) async throws {
        switch event.attributes {
        case .workflowExecutionStartedEventAttributes(var a)?:
            a.input.payloads = try await decode(a.input.payloads)
            a.lastCompletionResult.payloads = try await decode(a.lastCompletionResult.payloads)
            a.memo.fields = try await decode(a.memo.fields)
            if a.hasContinuedFailure { a.continuedFailure = try await decode(a.continuedFailure) }
            event.attributes = .workflowExecutionStartedEventAttributes(a)
        case .workflowExecutionSignaledEventAttributes(var a)?:
            a.input.payloads = try await decode(a.input.payloads)
            event.attributes = .workflowExecutionSignaledEventAttributes(a)
        case .activityTaskCompletedEventAttributes(var a)?:
            a.result.payloads = try await decode(a.result.payloads)
            event.attributes = .activityTaskCompletedEventAttributes(a)
        case .activityTaskFailedEventAttributes(var a)?:
            a.failure = try await decode(a.failure)
            event.attributes = .activityTaskFailedEventAttributes(a)
        case .activityTaskTimedOutEventAttributes(var a)?:
            a.failure = try await decode(a.failure)
            event.attributes = .activityTaskTimedOutEventAttributes(a)
        case .activityTaskCanceledEventAttributes(var a)?:
            a.details.payloads = try await decode(a.details.payloads)
            event.attributes = .activityTaskCanceledEventAttributes(a)
        case .markerRecordedEventAttributes(var a)?:
            // What the markers of local activities say of themselves is never encoded, as in Core.
            for key in ["result", "side-effect-id", "data"]
            where key != "data" || a.markerName == MarkerName.sideEffect {
                if let payloads = a.details[key], key != "side-effect-id" {
                    a.details[key]?.payloads = try await decode(payloads.payloads)
                }
            }
            if a.hasFailure { a.failure = try await decode(a.failure) }
            event.attributes = .markerRecordedEventAttributes(a)
        case .workflowExecutionUpdateAcceptedEventAttributes(var a)? where a.hasAcceptedRequest:
            try await change(&a.acceptedRequest) { try await decode($0) }
            event.attributes = .workflowExecutionUpdateAcceptedEventAttributes(a)
        case .workflowExecutionUpdateAdmittedEventAttributes(var a)?:
            try await change(&a.request) { try await decode($0) }
            event.attributes = .workflowExecutionUpdateAdmittedEventAttributes(a)
        default: try await decodeChild(&event)
        }
    }

    private func decodeChild(_ event: inout APIHistoryEvent) async throws {
        switch event.attributes {
        case .childWorkflowExecutionCompletedEventAttributes(var a)?:
            a.result.payloads = try await decode(a.result.payloads)
            event.attributes = .childWorkflowExecutionCompletedEventAttributes(a)
        case .childWorkflowExecutionFailedEventAttributes(var a)?:
            a.failure = try await decode(a.failure)
            event.attributes = .childWorkflowExecutionFailedEventAttributes(a)
        case .childWorkflowExecutionCanceledEventAttributes(var a)?:
            a.details.payloads = try await decode(a.details.payloads)
            event.attributes = .childWorkflowExecutionCanceledEventAttributes(a)
        default: break
        }
    }

    // MARK: Commands

    private func encode(_ command: inout APICommand) async throws {
        if command.userMetadata.hasSummary,
            let summary = try await encode([command.userMetadata.summary]).first
        {
            command.userMetadata.summary = summary
        }
        switch command.attributes {
        case .scheduleActivityTaskCommandAttributes(var a)?:
            a.input.payloads = try await encode(a.input.payloads)
            command.attributes = .scheduleActivityTaskCommandAttributes(a)
        case .completeWorkflowExecutionCommandAttributes(var a)?:
            a.result.payloads = try await encode(a.result.payloads)
            command.attributes = .completeWorkflowExecutionCommandAttributes(a)
        case .failWorkflowExecutionCommandAttributes(var a)?:
            a.failure = try await encode(a.failure)
            command.attributes = .failWorkflowExecutionCommandAttributes(a)
        case .continueAsNewWorkflowExecutionCommandAttributes(var a)?:
            a.input.payloads = try await encode(a.input.payloads)
            a.memo.fields = try await encode(a.memo.fields)
            command.attributes = .continueAsNewWorkflowExecutionCommandAttributes(a)
        case .startChildWorkflowExecutionCommandAttributes(var a)?:
            a.input.payloads = try await encode(a.input.payloads)
            a.memo.fields = try await encode(a.memo.fields)
            command.attributes = .startChildWorkflowExecutionCommandAttributes(a)
        case .signalExternalWorkflowExecutionCommandAttributes(var a)?:
            a.input.payloads = try await encode(a.input.payloads)
            command.attributes = .signalExternalWorkflowExecutionCommandAttributes(a)
        case .modifyWorkflowPropertiesCommandAttributes(var a)?:
            a.upsertedMemo.fields = try await encode(a.upsertedMemo.fields)
            command.attributes = .modifyWorkflowPropertiesCommandAttributes(a)
        case .recordMarkerCommandAttributes(var a)?:
            let key = a.markerName == MarkerName.sideEffect ? "data" : "result"
            if let payloads = a.details[key] {
                a.details[key]?.payloads = try await encode(payloads.payloads)
            }
            if a.hasFailure { a.failure = try await encode(a.failure) }
            command.attributes = .recordMarkerCommandAttributes(a)
        default: break
        }
    }
}
