public import TemporalAPI

/// Changes payloads on their way to the server and back: encryption, compression, storage elsewhere.
///
/// Codecs run outside workflow code, so they may wait. Each payload that was encoded is decoded by the same codec.
public protocol PayloadCodec: Sendable {
    func encode(_ payloads: [APIPayload]) async throws -> [APIPayload]
    func decode(_ payloads: [APIPayload]) async throws -> [APIPayload]
}

/// How values and errors travel: ``PayloadConverter``, ``FailureConverter`` and the codecs around both.
public struct DataConverter: Sendable {
    public var payloads: PayloadConverter
    public var failures: FailureConverter
    /// Applied in this order on the way to the server, in the reverse order on the way back.
    public var codecs: [any PayloadCodec]

    public init(
        payloads: PayloadConverter = PayloadConverter(),
        failures: FailureConverter = FailureConverter(),
        codecs: [any PayloadCodec] = []
    ) {
        self.payloads = payloads
        self.failures = failures
        self.codecs = codecs
    }

    package func encode(_ payloads: [APIPayload]) async throws -> [APIPayload] {
        var payloads = payloads
        for codec in codecs where !payloads.isEmpty { payloads = try await codec.encode(payloads) }
        return payloads
    }

    package func decode(_ payloads: [APIPayload]) async throws -> [APIPayload] {
        var payloads = payloads
        for codec in codecs.reversed() where !payloads.isEmpty { payloads = try await codec.decode(payloads) }
        return payloads
    }

    package func encode(_ fields: [String: APIPayload]) async throws -> [String: APIPayload] {
        try await map(fields) { try await encode($0) }
    }

    package func decode(_ fields: [String: APIPayload]) async throws -> [String: APIPayload] {
        try await map(fields) { try await decode($0) }
    }

    /// The failure with the payloads in it, and in its causes, encoded by the codecs.
    package func encode(_ failure: APIFailure) async throws -> APIFailure {
        codecs.isEmpty ? failure : try await map(failure) { try await encode($0) }
    }

    package func decode(_ failure: APIFailure) async throws -> APIFailure {
        codecs.isEmpty ? failure : try await map(failure) { try await decode($0) }
    }

    /// The failure of an error, ready for the server.
    package func failure(of error: any Error) async throws -> APIFailure {
        try await encode(failures.failure(of: error, by: payloads))
    }

    /// The error of a failure from the server.
    package func error(of failure: APIFailure) async throws -> any TemporalFailure {
        failures.error(of: try await decode(failure), by: payloads)
    }

    private func map(
        _ fields: [String: APIPayload],
        _ change: ([APIPayload]) async throws -> [APIPayload]
    ) async throws -> [String: APIPayload] {
        guard !codecs.isEmpty else { return fields }
        var changed: [String: APIPayload] = [:]
        for (key, payload) in fields { changed[key] = try await change([payload]).first }
        return changed
    }

    private func map(
        _ failure: APIFailure,
        _ change: ([APIPayload]) async throws -> [APIPayload]
    ) async throws -> APIFailure {
        var failure = failure
        if failure.hasEncodedAttributes, let changed = try await change([failure.encodedAttributes]).first {
            failure.encodedAttributes = changed
        }
        switch failure.failureInfo {
        case .applicationFailureInfo(var info) where info.hasDetails:
            info.details.payloads = try await change(info.details.payloads)
            failure.failureInfo = .applicationFailureInfo(info)
        case .canceledFailureInfo(var info) where info.hasDetails:
            info.details.payloads = try await change(info.details.payloads)
            failure.failureInfo = .canceledFailureInfo(info)
        case .timeoutFailureInfo(var info) where info.hasLastHeartbeatDetails:
            info.lastHeartbeatDetails.payloads = try await change(info.lastHeartbeatDetails.payloads)
            failure.failureInfo = .timeoutFailureInfo(info)
        case .resetWorkflowFailureInfo(var info) where info.hasLastHeartbeatDetails:
            info.lastHeartbeatDetails.payloads = try await change(info.lastHeartbeatDetails.payloads)
            failure.failureInfo = .resetWorkflowFailureInfo(info)
        default: break
        }
        if failure.hasCause { failure.cause = try await map(failure.cause, change) }
        return failure
    }
}
