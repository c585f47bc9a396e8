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
        try await Self.apply(codecs, to: payloads) { try await $0.encode($1) }
    }

    package func decode(_ payloads: [APIPayload]) async throws -> [APIPayload] {
        try await Self.apply(codecs.reversed(), to: payloads) { try await $0.decode($1) }
    }

    /// Codecs may take long: they never run on a connection's event loop.
    private static func apply(
        _ codecs: [any PayloadCodec],
        to payloads: [APIPayload],
        _ change:
            @escaping @Sendable @concurrent (any PayloadCodec, [APIPayload]) async throws -> [APIPayload]
    ) async throws -> [APIPayload] {
        guard !codecs.isEmpty, !payloads.isEmpty else { return payloads }
        return try await withTaskExecutorPreference(globalConcurrentExecutor) {
            var payloads = payloads
            for codec in codecs where !payloads.isEmpty { payloads = try await change(codec, payloads) }
            return payloads
        }
    }

    /// One payload, encoded by the codecs.
    func encode(one payload: APIPayload) async throws -> APIPayload {
        try await encode([payload]).first ?? payload
    }

    package func encode(_ fields: [String: APIPayload]) async throws -> [String: APIPayload] {
        try await change(fields, Self.encoding)
    }

    package func decode(_ fields: [String: APIPayload]) async throws -> [String: APIPayload] {
        try await change(fields, Self.decoding)
    }

    /// The failure of an error, ready for the server.
    package func failure(of error: any Error) async throws -> APIFailure {
        try await change(failures.failure(of: error, by: payloads), Self.encoding)
    }

    /// The error of a failure from the server.
    package func error(of failure: APIFailure) async throws -> any TemporalFailure {
        failures.error(of: try await change(failure, Self.decoding), by: payloads)
    }
}
