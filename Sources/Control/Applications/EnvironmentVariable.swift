/// A variable that an app gets at its next start.
public struct EnvironmentVariable: Codable, Sendable, Equatable {
    /// The largest value, so that a whole environment stays far below the kernel's limit for one argument list.
    public static let maximumValueBytes = 64 * 1024

    public var name: String
    /// Nothing where a listing leaves a secret's value out.
    public var value: String?
    /// A secret is encrypted at rest and never shown again.
    public var isSecret: Bool

    public init(name: String, value: String?, isSecret: Bool) {
        self.name = name
        self.value = value
        self.isSecret = isSecret
    }

    /// Checks the name and the value's size.
    ///
    /// - Throws: ``MartletError`` with code `bad_request` that states the rule; it never quotes the value.
    public func validate() throws(MartletError) {
        try Self.validate(name: name)
        guard let value, value.utf8.count > Self.maximumValueBytes || value.utf8.contains(0) else { return }
        throw MartletError(
            .badRequest,
            "the value of \(name) cannot be used: a value has at most \(Self.maximumValueBytes) bytes and no zero byte"
        )
    }

    /// Checks that a name can name an environment variable: letters, digits and `_`, not starting with a digit, and not
    /// one of the platform's own (`MARTLET_…`).
    ///
    /// - Throws: ``MartletError`` with code `bad_request`.
    public static func validate(name: String) throws(MartletError) {
        let isName =
            (1...128).contains(name.utf8.count) && name.utf8.first.map { !isDigit($0) } == true
            && name.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "_") }
        guard isName else {
            throw MartletError(
                .badRequest,
                "\"\(name.prefix(80))\" cannot name a variable: a name is 1 to 128 letters, digits and _, "
                    + "and does not start with a digit"
            )
        }
        guard !name.hasPrefix("MARTLET_") else {
            throw MartletError(
                .badRequest,
                "\(name) is set by the platform itself; choose a name without MARTLET_"
            )
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}
