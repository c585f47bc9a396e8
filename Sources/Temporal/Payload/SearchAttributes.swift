public import TemporalAPI

public import struct Foundation.Data
public import struct Foundation.Date

/// The name of a search attribute with the type of its values.
public struct SearchAttributeKey<Value: SearchAttributeValue>: Sendable, Hashable {
    public let name: String

    public init(_ name: String, _ type: Value.Type = Value.self) { self.name = name }
}

/// The types that search attributes have: Keyword, Text, Int, Double, Bool, Datetime and KeywordList.
public protocol SearchAttributeValue: Codable, Sendable, Hashable {
    static var attributeType: APIIndexedValueType { get }
}

extension String: SearchAttributeValue { public static var attributeType: APIIndexedValueType { .keyword } }
extension Int: SearchAttributeValue { public static var attributeType: APIIndexedValueType { .int } }
extension Double: SearchAttributeValue { public static var attributeType: APIIndexedValueType { .double } }
extension Bool: SearchAttributeValue { public static var attributeType: APIIndexedValueType { .bool } }
extension Date: SearchAttributeValue { public static var attributeType: APIIndexedValueType { .datetime } }
extension [String]: SearchAttributeValue {
    public static var attributeType: APIIndexedValueType { .keywordList }
}

/// A text that is searched by its words, where a `String` is searched as a whole.
public struct SearchText: SearchAttributeValue, ExpressibleByStringLiteral {
    public static var attributeType: APIIndexedValueType { .text }
    public var text: String

    public init(_ text: String) { self.text = text }
    public init(stringLiteral text: String) { self.text = text }
    public init(from decoder: any Decoder) throws {
        text = try decoder.singleValueContainer().decode(String.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}

/// Values by which workflows are found with ``TemporalClient/list(_:pageSize:)``.
///
/// The server must know their names.
public struct SearchAttributes: Sendable, Hashable {
    public private(set) var fields: [String: APIPayload]

    public init() { fields = [:] }

    package init(_ message: APISearchAttributes) { fields = message.indexedFields }

    package var message: APISearchAttributes {
        var message = APISearchAttributes()
        message.indexedFields = fields
        return message
    }

    public var isEmpty: Bool { fields.isEmpty }

    /// The value of a key, or nil where there is none of its type.
    ///
    /// Setting nil removes it.
    public subscript<Value: SearchAttributeValue>(key: SearchAttributeKey<Value>) -> Value? {
        get {
            guard let payload = fields[key.name], !payload.data.isEmpty else { return nil }
            // A payload of another type is no value of this key.
            return try? PayloadConverter().decode(payload, as: Value.self)
        }
        set { set(newValue, for: key) }
    }

    /// The same attributes and one more.
    public func with<Value: SearchAttributeValue>(_ key: SearchAttributeKey<Value>, _ value: Value) -> Self {
        var copy = self
        copy[key] = value
        return copy
    }

    /// An entry that tells the server to remove the attribute when a workflow upserts it.
    public mutating func setRemoved<Value: SearchAttributeValue>(_ key: SearchAttributeKey<Value>) {
        fields[key.name] = Self.typed(APIPayload(encoding: PayloadConverter.Encoding.null), Value.self)
    }

    private mutating func set<Value: SearchAttributeValue>(
        _ value: Value?,
        for key: SearchAttributeKey<Value>
    ) {
        // The types of search attributes can all be written as JSON.
        guard let value, let payload = try? PayloadConverter().encode(value) else {
            fields[key.name] = nil
            return
        }
        fields[key.name] = Self.typed(payload, Value.self)
    }

    private static func typed<Value: SearchAttributeValue>(
        _ payload: APIPayload,
        _ type: Value.Type
    ) -> APIPayload {
        var payload = payload
        let name =
            switch Value.attributeType {
            case .text: "Text"
            case .keyword: "Keyword"
            case .int: "Int"
            case .double: "Double"
            case .bool: "Bool"
            case .datetime: "Datetime"
            case .keywordList: "KeywordList"
            default: ""
            }
        payload.metadata["type"] = Data(name.utf8)
        return payload
    }
}

/// Values that a workflow carries and that listings show, by name.
public struct Memo: Sendable, Hashable {
    public var fields: [String: APIPayload]

    public init() { fields = [:] }

    package init(fields: [String: APIPayload]) { self.fields = fields }

    public init(_ values: [String: any Encodable & Sendable], by converter: PayloadConverter = .init()) throws
    {
        fields = try values.mapValues { try converter.encode($0) }
    }

    public var isEmpty: Bool { fields.isEmpty }

    /// The value of a name, or nil where there is none.
    public func decode<Value: Decodable & Sendable>(
        _ name: String,
        as type: Value.Type = Value.self,
        by converter: PayloadConverter = PayloadConverter()
    ) throws -> Value? {
        try fields[name].map { try converter.decode($0, as: type) }
    }

    public mutating func set(
        _ name: String,
        _ value: some Encodable & Sendable,
        by converter: PayloadConverter = PayloadConverter()
    ) throws {
        fields[name] = try converter.encode(value)
    }
}
