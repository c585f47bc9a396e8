/// A version of an app: the SHA-256 of its artifact, in lower-case hexadecimal.
public struct VersionID: Identifier {
    public let rawValue: String

    /// The first 12 digits, which people read and type.
    public var short: String { String(rawValue.prefix(12)) }

    public init(validating string: String) throws(MartletError) {
        guard string.utf8.count == 64, string.utf8.allSatisfy(isLowerCaseHexadecimal) else {
            throw MartletError(
                .badRequest,
                "\"\(string.prefix(80))\" is not a version: a version is 64 lower-case hexadecimal digits"
            )
        }
        rawValue = string
    }

    /// Takes the 32 bytes of a SHA-256 digest.
    ///
    /// - Throws: ``MartletError`` with code `bad_request` when there are not 32 bytes.
    public init(digest: some Sequence<UInt8>) throws(MartletError) {
        let digits = Array("0123456789abcdef".utf8)
        let bytes = digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        try self.init(validating: String(decoding: bytes, as: UTF8.self))
    }
}

/// The start of a version's digits, as a person types it: at least 4 digits.
public struct VersionPrefix: Identifier {
    public let rawValue: String

    public init(validating string: String) throws(MartletError) {
        guard (4...64).contains(string.utf8.count), string.utf8.allSatisfy(isLowerCaseHexadecimal) else {
            throw MartletError(
                .badRequest,
                "\"\(string.prefix(80))\" is not a version: give 4 to 64 lower-case hexadecimal digits "
                    + "as `martlet versions` shows them"
            )
        }
        rawValue = string
    }

    /// The one version of `candidates` that starts with these digits.
    ///
    /// - Throws: ``MartletError`` with code `not_found` or, where several match, `conflict`.
    public func resolve(in candidates: some Sequence<VersionID>) throws(MartletError) -> VersionID {
        let matches = Set(candidates).filter { $0.rawValue.hasPrefix(rawValue) }
        guard let match = matches.first else {
            throw MartletError(.notFound, "no version starts with \(rawValue); see `martlet versions`")
        }
        guard matches.count == 1 else {
            throw MartletError(
                .conflict,
                "\(matches.count) versions start with \(rawValue); give more digits"
            )
        }
        return match
    }
}

private func isLowerCaseHexadecimal(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
}
