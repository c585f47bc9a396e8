import Foundation
import SwiftProtobuf
import Temporal
import TemporalAPI
import Testing

private struct Point: Codable, Equatable, Sendable {
    var y: Int
    var x: Int
    var label: String?
}

private struct Complaint: Error, CustomStringConvertible {
    var description: String { "too loud" }
}

/// Turns every byte around: enough to see what passed through it.
struct MirrorCodec: PayloadCodec {
    func encode(_ payloads: [APIPayload]) -> [APIPayload] {
        payloads.map { payload in
            var mirrored = APIPayload()
            mirrored.metadata = ["encoding": Data("binary/mirror".utf8)]
            // Serializing a payload cannot fail: it has no required fields.
            mirrored.data = Data(((try? payload.serializedData()) ?? Data()).reversed())
            return mirrored
        }
    }

    func decode(_ payloads: [APIPayload]) throws -> [APIPayload] {
        try payloads.map { payload in
            guard payload.encoding == "binary/mirror" else { return payload }
            return try APIPayload(serializedBytes: Data(payload.data.reversed()))
        }
    }
}

@Suite struct `Payloads` {
    private let converter = PayloadConverter()

    private func check<Value: Codable & Sendable & Equatable>(
        _ value: Value,
        _ encoding: String,
        _ bytes: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let payload = try converter.encode(value)
        #expect(payload.encoding == encoding, sourceLocation: sourceLocation)
        #expect(String(decoding: payload.data, as: UTF8.self) == bytes, sourceLocation: sourceLocation)
        #expect(try converter.decode(payload, as: Value.self) == value, sourceLocation: sourceLocation)
    }

    @Test func `values are written as the official SDKs write them`() throws {
        try check(42, "json/plain", "42")
        try check(-1.5, "json/plain", "-1.5")
        try check(true, "json/plain", "true")
        try check("plain", "json/plain", "\"plain\"")
        try check("a \"quote\"\n / é \u{1F426}", "json/plain", "\"a \\\"quote\\\"\\n / é \u{1F426}\"")
        try check(Point(y: 1, x: 2), "json/plain", "{\"x\":2,\"y\":1}")
        try check([1, 2], "json/plain", "[1,2]")
        try check(["b": 1, "a": 2], "json/plain", "{\"a\":2,\"b\":1}")
        try check(Data("raw".utf8), "binary/plain", "raw")
        try check(Array("raw".utf8), "binary/plain", "raw")
        try check(Int?.none, "binary/null", "")
        try check(Int?.some(3), "json/plain", "3")
        try check(Nothing(), "binary/null", "")
        try check(Date(timeIntervalSince1970: 0.5), "json/plain", "\"1970-01-01T00:00:00.500Z\"")
    }

    @Test(arguments: [
        "2024-02-29T12:00:00Z", "2024-02-29T13:00:00.000+01:00", "2024-02-29T12:00:00.000000+00:00",
    ])
    func `dates are read in all forms that SDKs write`(text: String) throws {
        var payload = try converter.encode("")
        payload.data = Data("\"\(text)\"".utf8)
        #expect(try converter.decode(payload, as: Date.self) == Date(timeIntervalSince1970: 1_709_208_000))
    }

    @Test func `messages travel as JSON or as bytes`() throws {
        var message = APIWorkflowExecution()
        message.workflowID = "w"
        let json = try converter.encode(ProtobufValue(message))
        #expect(json.encoding == "json/protobuf")
        #expect(json.metadata["messageType"] == Data("temporal.api.common.v1.WorkflowExecution".utf8))
        #expect(String(decoding: json.data, as: UTF8.self) == "{\"workflowId\":\"w\"}")
        let binary = try converter.encode(ProtobufValue(message, isBinary: true))
        #expect(binary.encoding == "binary/protobuf")
        for payload in [json, binary] {
            #expect(
                try converter.decode(payload, as: ProtobufValue<APIWorkflowExecution>.self).message == message
            )
        }
    }

    @Test func `what cannot be decoded is named`() throws {
        var payload = try converter.encode(1)
        let mismatch = #expect(throws: PayloadError.self) { try converter.decode(payload, as: String.self) }
        #expect(mismatch?.message.contains("cannot decode a json/plain payload as String") == true)
        payload.metadata["encoding"] = Data("binary/encrypted".utf8)
        let unknown = #expect(throws: PayloadError.self) { try converter.decode(payload, as: Int.self) }
        #expect(unknown?.message.contains("binary/encrypted") == true)
        let none = #expect(throws: PayloadError.self) { try converter.decode(argument: [], as: Int.self) }
        #expect(none?.message == "expected a value of type Int, got none")
        #expect(try converter.decode(argument: [], as: Int?.self) == nil)
    }

    @Test func `failures keep their causes, details and traces on the way`() async throws {
        for encodesAttributes in [false, true] {
            let data = DataConverter(
                failures: FailureConverter(encodesAttributes: encodesAttributes),
                codecs: [MirrorCodec()]
            )
            let inner = ApplicationFailure(
                "inner",
                type: "Kind",
                details: ["d", 2],
                nonRetryable: true,
                nextRetryDelay: .milliseconds(1500),
                category: .benign,
                cause: Complaint()
            )
            let child = ChildWorkflowFailure(
                workflowID: "w",
                workflowType: "T",
                retryState: .timeout,
                cause: inner
            )
            let outer = ActivityFailure(activityType: "act", activityID: "3", cause: child)
            let failure = try await data.failure(of: outer)
            #expect(
                failure.cause.cause.applicationFailureInfo.details.payloads.first?.encoding == "binary/mirror"
            )
            #expect(failure.cause.cause.message == (encodesAttributes ? "Encoded failure" : "inner"))

            let error = try await data.error(of: failure)
            #expect((error as? ActivityFailure)?.activityType == "act")
            #expect(error.first(ChildWorkflowFailure.self)?.retryState == .timeout)
            let found = try #require(error.first(ApplicationFailure.self))
            #expect(found.message == "inner")
            #expect(found.type == "Kind")
            #expect(found.isNonRetryable)
            #expect(found.nextRetryDelay == .milliseconds(1500))
            #expect(found.category == .benign)
            #expect(found.stackTrace.contains("PayloadTests.swift"))
            #expect(try found.details.decode(Int.self, at: 1) == 2)
            #expect((error.rootCause as? ApplicationFailure)?.type == "Complaint")
            #expect(error.rootCause.message == "too loud")
        }
    }

    @Test func `errors of others become failures`() async throws {
        let data = DataConverter()
        #expect(try await data.failure(of: CancellationError()).canceledFailureInfo.details.payloads.isEmpty)
        #expect(try await data.failure(of: Complaint()).applicationFailureInfo.type == "Complaint")
        let timeout = TimeoutFailure(
            kind: .heartbeat,
            lastHeartbeatDetails: FailureDetails([try converter.encode("at 7")])
        )
        let back = try await data.error(of: data.failure(of: timeout)) as? TimeoutFailure
        #expect(back?.kind == .heartbeat)
        #expect(try back?.lastHeartbeatDetails.decode(String.self) == "at 7")
    }

    @Test func `search attributes carry their types`() throws {
        let text = SearchAttributeKey<SearchText>("Note")
        let words = SearchAttributeKey<[String]>("Words")
        var attributes = SearchAttributes().with(text, "some words").with(words, ["a", "b"])
        #expect(attributes.fields["Note"]?.metadata["type"] == Data("Text".utf8))
        #expect(attributes.fields["Words"]?.metadata["type"] == Data("KeywordList".utf8))
        #expect(attributes[text] == "some words")
        #expect(attributes[SearchAttributeKey<Int>("Note")] == nil)
        attributes[words] = nil
        #expect(attributes.fields["Words"] == nil)
    }
}
