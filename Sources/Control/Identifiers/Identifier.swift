/// A validated name that is a string outside and a type of its own inside.
///
/// Conformers are coded as plain strings, and decoding applies the same rule as ``init(validating:)``.
public protocol Identifier: Hashable, Comparable, Codable, Sendable, CustomStringConvertible,
    LosslessStringConvertible
{
    var rawValue: String { get }

    /// Takes a string that follows the identifier's rule.
    ///
    /// - Throws: ``MartletError`` with code `bad_request` whose message states the rule.
    init(validating string: String) throws(MartletError)
}

extension Identifier {
    public init?(_ description: String) {
        // This initializer may only say no, so the message is lost.
        guard let value = try? Self(validating: description) else { return nil }
        self = value
    }

    public var description: String { rawValue }

    public static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let string = try container.decode(String.self)
        do {
            self = try Self(validating: string)
        } catch {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: error.message)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

/// The rule of a DNS label (RFC 1123): `a-z`, `0-9` and inner hyphens, 1 to 63 bytes.
func isDNSLabel(_ string: String) -> Bool {
    let bytes = string.utf8
    guard (1...63).contains(bytes.count), bytes.first != UInt8(ascii: "-"), bytes.last != UInt8(ascii: "-")
    else {
        return false
    }
    return bytes.allSatisfy { byte in
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || byte == UInt8(ascii: "-")
    }
}
