public import SwiftProtobuf
public import TemporalAPI

public import Foundation

/// Turns values into payloads and back, as the official SDKs do, so that all of them read each other's.
///
/// | value | encoding |
/// |---|---|
/// | nil, ``Nothing`` | `binary/null` |
/// | `Data`, `[UInt8]` | `binary/plain` |
/// | ``ProtobufValue`` | `json/protobuf` or `binary/protobuf` |
/// | ``RawPayload`` | whatever it holds |
/// | any other `Codable` value | `json/plain`, keys sorted, dates in ISO 8601 |
///
/// Equal values give equal bytes. Conversions happen inside workflows, so they are quick and never wait; what has to
/// wait (encryption, storage) is a ``PayloadCodec``.
public struct PayloadConverter: Sendable {
    /// How structures are written as JSON; keep its keys sorted, for equal bytes in every run.
    public var encoder: JSONEncoder
    public var decoder: JSONDecoder

    public init() {
        encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(date.formatted(ISO8601.withFraction))
        }
        decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            let text = try container.decode(String.self)
            guard let date = ISO8601.date(text) else {
                throw DecodingError.dataCorruptedError(
                    in: container,
                    debugDescription: "\"\(text)\" is no ISO 8601 date"
                )
            }
            return date
        }
    }

    /// - Throws: ``PayloadError`` that names the value's type.
    public func encode(_ value: some Encodable & Sendable) throws -> APIPayload {
        do { return try encode(any: value) } catch let error as PayloadError { throw error } catch {
            throw PayloadError("cannot encode a value of type \(type(of: value)): \(error)")
        }
    }

    public func encode(_ message: some Message & Sendable) throws -> APIPayload {
        try ProtobufValue(message).payload(by: self)
    }

    /// Several values, for callees that take several arguments; ``Nothing`` is none.
    public func encode(all values: [any Encodable & Sendable]) throws -> [APIPayload] {
        try values.filter { !($0 is Nothing) }.map { try encode($0) }
    }

    /// The one value of a call in its payloads: none for ``Nothing``.
    package func encode(argument value: some Encodable & Sendable) throws -> [APIPayload] {
        value is Nothing ? [] : [try encode(value)]
    }

    /// - Throws: ``PayloadError`` that says what was found and what was expected.
    public func decode<Value: Decodable & Sendable>(
        _ payload: APIPayload,
        as type: Value.Type = Value.self
    ) throws -> Value {
        do { return try decode(any: payload, as: type) } catch let error as PayloadError { throw error } catch
        {
            throw PayloadError("cannot decode a \(payload.encoding) payload as \(type): \(error)")
        }
    }

    public func decode<Value: Message & Sendable>(
        _ payload: APIPayload,
        as type: Value.Type = Value.self
    ) throws -> Value {
        try ProtobufValue<Value>(payload: payload, by: self).message
    }

    /// The value of a call with one argument: the first payload.
    ///
    /// Without one, nil or ``Nothing`` where they fit.
    package func decode<Value: Decodable & Sendable>(
        argument payloads: [APIPayload],
        as type: Value.Type = Value.self
    ) throws -> Value {
        if let first = payloads.first { return try decode(first, as: type) }
        if let null = type as? any NullablePayload.Type, let value = null.null as? Value { return value }
        throw PayloadError("expected a value of type \(type), got none")
    }

    func encode(any value: some Encodable) throws -> APIPayload {
        switch value {
        case let value as Int: return .json(Data(String(value).utf8))
        case let value as Bool: return .json(Data((value ? "true" : "false").utf8))
        case let value as String where value.needsNoEscape: return .json(Data("\"\(value)\"".utf8))
        case let value as any PayloadRepresentable: return try value.payload(by: self)
        default: return .json(try encoder.encode(value))
        }
    }

    func decode<Value: Decodable>(any payload: APIPayload, as type: Value.Type) throws -> Value {
        if type == Int.self, let value = payload.integer as? Value { return value }
        if let type = type as? any PayloadRepresentable.Type,
            let value = try type.init(payload: payload, by: self) as? Value
        {
            return value
        }
        switch payload.encoding {
        case Encoding.json, Encoding.jsonProtobuf:
            return try decoder.decode(type, from: payload.data)
        default:
            throw PayloadError("cannot decode a \(payload.encoding) payload as \(type)")
        }
    }

    enum Encoding {
        static let json = "json/plain"
        static let null = "binary/null"
        static let binary = "binary/plain"
        static let jsonProtobuf = "json/protobuf"
        static let binaryProtobuf = "binary/protobuf"
    }
}

/// A value that could not be turned into a payload, or a payload into a value.
public struct PayloadError: Error, Sendable, CustomStringConvertible {
    public var message: String

    public init(_ message: String) { self.message = message }

    public var description: String { message }
}

extension APIPayload {
    /// What the payload's metadata say about its bytes, such as `json/plain`; empty when they say nothing.
    public var encoding: String { metadata["encoding"].map { String(decoding: $0, as: UTF8.self) } ?? "" }

    package init(encoding: String, data: Data = Data()) {
        self.init()
        metadata = ["encoding": Data(encoding.utf8)]
        self.data = data
    }

    /// The integer of a payload that holds one as this library writes it: the commonest value, read without a decoder.
    fileprivate var integer: Int? {
        guard encoding == PayloadConverter.Encoding.json else { return nil }
        let text = String(decoding: data, as: UTF8.self)
        return Int(text).flatMap { String($0) == text ? $0 : nil }
    }

    private static let jsonMetadata = ["encoding": Data(PayloadConverter.Encoding.json.utf8)]

    static func json(_ data: Data) -> APIPayload {
        var payload = APIPayload()
        payload.metadata = jsonMetadata
        payload.data = data
        return payload
    }
}

extension APIPayloads {
    package init(_ payloads: [APIPayload]) {
        self.init()
        self.payloads = payloads
    }
}

extension String {
    fileprivate var needsNoEscape: Bool {
        utf8.allSatisfy { $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") && $0 < 0x7f }
    }
}

private enum ISO8601 {
    static let withFraction = Date.ISO8601FormatStyle(includingFractionalSeconds: true)

    static func date(_ text: String) -> Date? {
        (try? withFraction.parse(text)) ?? (try? Date.ISO8601FormatStyle().parse(text))
    }
}
