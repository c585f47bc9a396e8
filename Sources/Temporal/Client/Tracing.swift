package import ServiceContextModule
package import TemporalAPI

import Instrumentation
import SwiftProtobuf
import Tracing

/// Carries traces along with calls, where the official SDKs' OpenTelemetry interceptors do: as a JSON object of
/// strings in the header `_tracer-data`.
package enum TraceHeader {
    static let key = "_tracer-data"

    /// The header for the current span, or nil when nobody traces.
    package static func current() -> APIHeader? {
        guard let context = ServiceContext.current else { return nil }
        var fields: [String: String] = [:]
        InstrumentationSystem.instrument.inject(context, into: &fields, using: Carrier())
        guard !fields.isEmpty, let payload = try? PayloadConverter().encode(fields) else { return nil }
        return .with { $0.fields = [key: payload] }
    }

    /// The context that a header carries, on top of the current one.
    package static func context(from header: APIHeader) -> ServiceContext {
        var context = ServiceContext.current ?? .topLevel
        // A header that cannot be read belongs to another kind of tracing.
        if let payload = header.fields[key],
            let fields = try? PayloadConverter().decode(payload, as: [String: String].self)
        {
            InstrumentationSystem.instrument.extract(fields, into: &context, using: Carrier())
        }
        return context
    }

    private struct Carrier: Injector, Extractor {
        func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) {
            carrier[key] = value
        }
        func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }
    }
}

extension TemporalClient {
    /// Runs a call in a span, named as the official SDKs name theirs.
    func traced<Result: Sendable>(
        _ operation: String,
        _ name: String,
        _ body: () async throws -> Result
    ) async throws -> Result {
        try await withSpan("\(operation):\(name)", ofKind: .client) { _ in try await body() }
    }
}
