import SwiftProtobuf
import TemporalAPI

/// Where a kind of message holds payloads that codecs change.
///
/// A place that the message at hand doesn't have, such as the input of another kind of event, reads as empty and is
/// left alone.
struct PayloadPlaces<Body>: Sendable {
    var payloads: [any WritableKeyPath<Body, [APIPayload]> & Sendable] = []
    var fields: [any WritableKeyPath<Body, [String: APIPayload]> & Sendable] = []
    var failures: [any WritableKeyPath<Body, APIFailure> & Sendable] = []
}

extension PayloadPlaces<APIHistoryEvent> {
    static let events = Self(
        payloads: [
            \.workflowExecutionStartedEventAttributes.input.payloads,
            \.workflowExecutionStartedEventAttributes.lastCompletionResult.payloads,
            \.workflowExecutionSignaledEventAttributes.input.payloads,
            \.activityTaskCompletedEventAttributes.result.payloads,
            \.activityTaskCanceledEventAttributes.details.payloads,
            \.workflowExecutionUpdateAcceptedEventAttributes.acceptedRequest.input.args.payloads,
            \.workflowExecutionUpdateAdmittedEventAttributes.request.input.args.payloads,
            \.childWorkflowExecutionCompletedEventAttributes.result.payloads,
            \.childWorkflowExecutionCanceledEventAttributes.details.payloads,
        ],
        fields: [\.workflowExecutionStartedEventAttributes.memo.fields],
        failures: [
            \.workflowExecutionStartedEventAttributes.continuedFailure,
            \.activityTaskFailedEventAttributes.failure,
            \.activityTaskTimedOutEventAttributes.failure,
            \.markerRecordedEventAttributes.failure,
            \.childWorkflowExecutionFailedEventAttributes.failure,
        ]
    )
}

extension PayloadPlaces<APICommand> {
    static let commands = Self(
        payloads: [
            \.scheduleActivityTaskCommandAttributes.input.payloads,
            \.completeWorkflowExecutionCommandAttributes.result.payloads,
            \.continueAsNewWorkflowExecutionCommandAttributes.input.payloads,
            \.startChildWorkflowExecutionCommandAttributes.input.payloads,
            \.signalExternalWorkflowExecutionCommandAttributes.input.payloads,
        ],
        fields: [
            \.continueAsNewWorkflowExecutionCommandAttributes.memo.fields,
            \.startChildWorkflowExecutionCommandAttributes.memo.fields,
            \.modifyWorkflowPropertiesCommandAttributes.upsertedMemo.fields,
        ],
        failures: [
            \.failWorkflowExecutionCommandAttributes.failure,
            \.recordMarkerCommandAttributes.failure,
        ]
    )
}

extension PayloadPlaces<APIFailure> {
    static let details = Self(payloads: [
        \.applicationFailureInfo.details.payloads,
        \.canceledFailureInfo.details.payloads,
        \.timeoutFailureInfo.lastHeartbeatDetails.payloads,
        \.resetWorkflowFailureInfo.lastHeartbeatDetails.payloads,
    ])
}

/// Applies the codecs to all payloads of messages.
///
/// Without codecs nothing is touched.
extension DataConverter {
    typealias Change = @Sendable (DataConverter, [APIPayload]) async throws -> [APIPayload]

    static let encoding: Change = { try await $0.encode($1) }
    static let decoding: Change = { try await $0.decode($1) }

    func decode(events: [APIHistoryEvent]) async throws -> [APIHistoryEvent] {
        try await changeEach(events) { event in
            try await change(&event, .events, Self.decoding)
            guard event.eventType == .markerRecorded else { return }
            let name = event.markerRecordedEventAttributes.markerName
            try await change(&event.markerRecordedEventAttributes.details, of: name, Self.decoding)
        }
    }

    func encode(commands: [APICommand]) async throws -> [APICommand] {
        try await changeEach(commands) { command in
            try await change(&command, .commands, Self.encoding)
            if command.userMetadata.hasSummary {
                command.userMetadata.summary = try await encode(one: command.userMetadata.summary)
            }
            guard command.commandType == .recordMarker else { return }
            let name = command.recordMarkerCommandAttributes.markerName
            try await change(&command.recordMarkerCommandAttributes.details, of: name, Self.encoding)
        }
    }

    func decode(query: APIWorkflowQuery) async throws -> APIWorkflowQuery {
        var query = query
        try await change(&query, .init(payloads: [\.queryArgs.payloads]), Self.decoding)
        return query
    }

    func decode(messages: [APIProtocolMessage]) async throws -> [APIProtocolMessage] {
        let requests = PayloadPlaces<APIUpdateRequest>(payloads: [\.input.args.payloads])
        return try await changeEach(messages) { try await change(&$0.body, requests, Self.decoding) }
    }

    func encode(messages: [APIProtocolMessage]) async throws -> [APIProtocolMessage] {
        let acceptances = PayloadPlaces<APIUpdateAcceptance>(
            payloads: [\.acceptedRequest.input.args.payloads]
        )
        let rejections = PayloadPlaces<APIUpdateRejection>(
            payloads: [\.rejectedRequest.input.args.payloads],
            failures: [\.failure]
        )
        let responses = PayloadPlaces<APIUpdateResponse>(
            payloads: [\.outcome.success.payloads],
            failures: [\.outcome.failure]
        )
        return try await changeEach(messages) {
            try await change(&$0.body, acceptances, Self.encoding)
            try await change(&$0.body, rejections, Self.encoding)
            try await change(&$0.body, responses, Self.encoding)
        }
    }

    private func changeEach<Body>(
        _ bodies: [Body],
        _ change: (inout Body) async throws -> Void
    ) async throws -> [Body] {
        guard !codecs.isEmpty else { return bodies }
        var bodies = bodies
        for index in bodies.indices { try await change(&bodies[index]) }
        return bodies
    }

    func change<Body>(_ body: inout Body, _ places: PayloadPlaces<Body>, _ change: Change) async throws {
        guard !codecs.isEmpty else { return }
        for place in places.payloads where !body[keyPath: place].isEmpty {
            body[keyPath: place] = try await change(self, body[keyPath: place])
        }
        for place in places.fields where !body[keyPath: place].isEmpty {
            body[keyPath: place] = try await self.change(body[keyPath: place], change)
        }
        for place in places.failures where body[keyPath: place] != APIFailure() {
            body[keyPath: place] = try await self.change(body[keyPath: place], change)
        }
    }

    /// Changes what `body` wraps, if it is of the places' kind.
    private func change<Body: Message>(
        _ body: inout Google_Protobuf_Any,
        _ places: PayloadPlaces<Body>,
        _ change: Change
    ) async throws {
        guard body.isA(Body.self) else { return }
        var message = try Body(unpackingAny: body)
        try await self.change(&message, places, change)
        body = try Google_Protobuf_Any(message: message)
    }

    /// What the markers of local activities and patches say of themselves is never encoded, as in Core.
    private func change(
        _ details: inout [String: APIPayloads],
        of marker: String,
        _ change: Change
    ) async throws {
        let key = marker == MarkerName.sideEffect ? "data" : "result"
        guard let payloads = details[key]?.payloads else { return }
        details[key]?.payloads = try await change(self, payloads)
    }

    func change(_ fields: [String: APIPayload], _ change: Change) async throws -> [String: APIPayload] {
        guard !codecs.isEmpty else { return fields }
        var changed: [String: APIPayload] = [:]
        for (key, payload) in fields { changed[key] = try await change(self, [payload]).first }
        return changed
    }

    func change(_ failure: APIFailure, _ change: Change) async throws -> APIFailure {
        guard !codecs.isEmpty else { return failure }
        var failure = failure
        if failure.hasEncodedAttributes {
            let changed = try await change(self, [failure.encodedAttributes]).first
            failure.encodedAttributes = changed ?? failure.encodedAttributes
        }
        try await self.change(&failure, .details, change)
        if failure.hasCause { failure.cause = try await self.change(failure.cause, change) }
        return failure
    }
}
