public import SwiftProtobuf
public import TemporalAPI

public import struct Foundation.Data

/// A type that makes its payloads itself, instead of through JSON.
public protocol PayloadRepresentable: Codable {
    init(payload: APIPayload, by converter: PayloadConverter) throws
    func payload(by converter: PayloadConverter) throws -> APIPayload
}

/// A type with a value that stands for "no value".
protocol NullablePayload { static var null: Self { get } }

/// The input of what takes none and the output of what gives none.
public struct Nothing: PayloadRepresentable, Hashable, Sendable, NullablePayload {
    static let null = Nothing()

    public init() {}

    /// Any payload will do.
    public init(payload: APIPayload, by converter: PayloadConverter) {}

    public func payload(by converter: PayloadConverter) -> APIPayload {
        APIPayload(encoding: PayloadConverter.Encoding.null)
    }
}

/// A payload as it is: to hand on what one doesn't look into, or to decode it later.
public struct RawPayload: PayloadRepresentable, Hashable, Sendable {
    public var payload: APIPayload

    public init(_ payload: APIPayload) { self.payload = payload }

    public init(payload: APIPayload, by converter: PayloadConverter) { self.payload = payload }

    public func payload(by converter: PayloadConverter) -> APIPayload { payload }

    public init(from decoder: any Swift.Decoder) throws {
        payload = try APIPayload(serializedBytes: decoder.singleValueContainer().decode(Data.self))
    }

    public func encode(to encoder: any Swift.Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(payload.serializedData())
    }
}

/// A protobuf message as a value: written as `json/protobuf`, which people can read, or as `binary/protobuf`.
public struct ProtobufValue<Value: Message & Sendable>: PayloadRepresentable, Sendable {
    public var message: Value
    public var isBinary: Bool

    public init(_ message: Value, isBinary: Bool = false) {
        self.message = message
        self.isBinary = isBinary
    }

    public init(payload: APIPayload, by converter: PayloadConverter) throws {
        switch payload.encoding {
        case PayloadConverter.Encoding.jsonProtobuf:
            message = try Value(jsonUTF8Bytes: payload.data, options: Self.tolerant)
            isBinary = false
        case PayloadConverter.Encoding.binaryProtobuf:
            message = try Value(serializedBytes: payload.data)
            isBinary = true
        default:
            throw PayloadError("cannot decode a \(payload.encoding) payload as \(Value.protoMessageName)")
        }
    }

    public func payload(by converter: PayloadConverter) throws -> APIPayload {
        var payload = APIPayload(
            encoding: isBinary
                ? PayloadConverter.Encoding.binaryProtobuf : PayloadConverter.Encoding.jsonProtobuf,
            data: try isBinary ? message.serializedData() : message.jsonUTF8Data()
        )
        payload.metadata["messageType"] = Data(Value.protoMessageName.utf8)
        return payload
    }

    public init(from decoder: any Swift.Decoder) throws {
        message = try Value(serializedBytes: decoder.singleValueContainer().decode(Data.self))
        isBinary = true
    }

    public func encode(to encoder: any Swift.Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(message.serializedData())
    }

    private static var tolerant: JSONDecodingOptions {
        var options = JSONDecodingOptions()
        options.ignoreUnknownFields = true
        return options
    }
}

extension Data: PayloadRepresentable {
    public init(payload: APIPayload, by converter: PayloadConverter) throws {
        switch payload.encoding {
        case PayloadConverter.Encoding.binary: self = payload.data
        case PayloadConverter.Encoding.json:
            self = try converter.decoder.decode(Data.self, from: payload.data)
        default: throw PayloadError("cannot decode a \(payload.encoding) payload as bytes")
        }
    }

    public func payload(by converter: PayloadConverter) -> APIPayload {
        APIPayload(encoding: PayloadConverter.Encoding.binary, data: self)
    }
}

extension Array: PayloadRepresentable where Element: Codable {
    public init(payload: APIPayload, by converter: PayloadConverter) throws {
        if payload.encoding == PayloadConverter.Encoding.binary,
            let bytes = Array<UInt8>(payload.data) as? Self
        {
            self = bytes
        } else {
            self = try converter.decoder.decode(Self.self, from: payload.data)
        }
    }

    public func payload(by converter: PayloadConverter) throws -> APIPayload {
        if let bytes = self as? [UInt8] { return Data(bytes).payload(by: converter) }
        return .json(try converter.encoder.encode(self))
    }
}

extension Optional: PayloadRepresentable where Wrapped: Codable {
    public init(payload: APIPayload, by converter: PayloadConverter) throws {
        let isNull =
            payload.encoding == PayloadConverter.Encoding.null
            || payload.encoding == PayloadConverter.Encoding.json && payload.data.elementsEqual("null".utf8)
        self = isNull ? nil : .some(try converter.decode(any: payload, as: Wrapped.self))
    }

    public func payload(by converter: PayloadConverter) throws -> APIPayload {
        guard let self else { return Nothing().payload(by: converter) }
        return try converter.encode(any: self)
    }
}

extension Optional: NullablePayload {
    static var null: Self { nil }
}
