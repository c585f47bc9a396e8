import Foundation
import Tracing

/// A request of OTLP/HTTP in JSON: `ExportTraceServiceRequest` of opentelemetry-proto 1.x, with ids in hexadecimal and
/// 64-bit numbers as text, as the protocol asks for.
struct TraceDocument: Encodable {
    let resourceSpans: [ResourceSpans]

    init(_ spans: [RecordedSpan.Ended], service: String, version: String, resource: [String: String]) {
        var attributes = resource.sorted { $0.key < $1.key }.map {
            Attribute(key: $0.key, value: .init(.string($0.value)))
        }
        attributes.insert(Attribute(key: "service.name", value: .init(.string(service))), at: 0)
        resourceSpans = [
            ResourceSpans(
                resource: Resource(attributes: attributes),
                scopeSpans: [
                    ScopeSpans(scope: Scope(name: "martlet", version: version), spans: spans.map(Span.init))
                ]
            )
        ]
    }

    func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }

    struct ResourceSpans: Encodable {
        let resource: Resource
        let scopeSpans: [ScopeSpans]
    }

    struct Resource: Encodable { let attributes: [Attribute] }

    struct ScopeSpans: Encodable {
        let scope: Scope
        let spans: [Span]
    }

    struct Scope: Encodable {
        let name: String
        let version: String
    }

    struct Span: Encodable {
        let traceId: String
        let spanId: String
        let parentSpanId: String?
        let traceState: String?
        let name: String
        let kind: Int
        let startTimeUnixNano: String
        let endTimeUnixNano: String
        let attributes: [Attribute]
        let events: [Event]
        let links: [Link]
        let status: Status

        init(_ span: RecordedSpan.Ended) {
            traceId = span.identity.trace.text
            spanId = span.identity.span.paddedHex
            parentSpanId = span.parent?.paddedHex
            traceState = span.identity.state
            name = span.name
            kind =
                switch span.kind {
                case .server: 2
                case .client: 3
                case .producer: 4
                case .consumer: 5
                default: 1
                }
            startTimeUnixNano = String(span.start)
            endTimeUnixNano = String(span.end)
            attributes = Attribute.all(span.attributes)
            events = span.events.map {
                Event(
                    timeUnixNano: String($0.nanosecondsSinceEpoch),
                    name: $0.name,
                    attributes: Attribute.all($0.attributes)
                )
            }
            links = span.links.compactMap { link in
                link.context.spanIdentity.map {
                    Link(
                        traceId: $0.trace.text,
                        spanId: $0.span.paddedHex,
                        attributes: Attribute.all(link.attributes)
                    )
                }
            }
            status = Status(span.status)
        }
    }

    struct Event: Encodable {
        let timeUnixNano: String
        let name: String
        let attributes: [Attribute]
    }

    struct Link: Encodable {
        let traceId: String
        let spanId: String
        let attributes: [Attribute]
    }

    struct Status: Encodable {
        let code: Int
        let message: String?

        init(_ status: SpanStatus?) {
            code =
                switch status?.code {
                case .ok: 1
                case .error: 2
                case nil: 0
                }
            message = status?.message
        }
    }

    struct Attribute: Encodable {
        let key: String
        let value: Value

        static func all(_ attributes: SpanAttributes) -> [Attribute] {
            var all: [Attribute] = []
            attributes.forEach { all.append(Attribute(key: $0, value: Value($1))) }
            return all.sorted { $0.key < $1.key }
        }
    }

    /// `AnyValue` of the protocol.
    struct Value: Encodable {
        let attribute: SpanAttribute

        init(_ attribute: SpanAttribute) { self.attribute = attribute }

        private enum Keys: String, CodingKey {
            case stringValue, boolValue, intValue, doubleValue, arrayValue
        }
        private struct List: Encodable { let values: [Value] }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            func list(_ values: [SpanAttribute]) throws {
                try container.encode(List(values: values.map(Value.init)), forKey: .arrayValue)
            }
            switch attribute {
            case .string(let text): try container.encode(text, forKey: .stringValue)
            case .bool(let value): try container.encode(value, forKey: .boolValue)
            case .int32(let value): try container.encode(String(value), forKey: .intValue)
            case .int64(let value): try container.encode(String(value), forKey: .intValue)
            case .double(let value) where value.isFinite: try container.encode(value, forKey: .doubleValue)
            case .double(let value): try container.encode(String(value), forKey: .stringValue)
            case .stringConvertible(let value): try container.encode(value.description, forKey: .stringValue)
            case .stringArray(let values): try list(values.map { .string($0) })
            case .boolArray(let values): try list(values.map { .bool($0) })
            case .int32Array(let values): try list(values.map { .int32($0) })
            case .int64Array(let values): try list(values.map { .int64($0) })
            case .doubleArray(let values): try list(values.map { .double($0) })
            case .stringConvertibleArray(let values): try list(values.map { .string($0.description) })
            default: try container.encode("", forKey: .stringValue)
            }
        }
    }
}
