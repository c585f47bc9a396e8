/// A bearer token of the API.
///
/// It never describes itself, so that it stays out of logs.
public struct APIToken: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The token as it travels in the `Authorization` header.
    public let secret: String

    /// Takes a token: 16 to 512 visible ASCII characters.
    ///
    /// - Throws: ``MartletError`` with code `bad_request`, without the token.
    public init(validating secret: String) throws(MartletError) {
        guard (16...512).contains(secret.utf8.count), secret.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw MartletError(
                .badRequest,
                "this is no API token: a token has 16 to 512 visible ASCII characters"
            )
        }
        self.secret = secret
    }

    private init(known secret: String) { self.secret = secret }

    /// Makes a token of 256 random bits in base 32, with a prefix that scanners for leaked secrets can find.
    public static func random(using generator: inout some RandomNumberGenerator) -> APIToken {
        let letters = Array("abcdefghijklmnopqrstuvwxyz234567")
        // 52 letters of 5 bits each carry 260 bits.
        let body = String((0..<52).map { _ in letters[Int.random(in: 0..<32, using: &generator)] })
        return APIToken(known: "martlet_" + body)
    }

    /// Compares in a time that does not depend on where the two differ.
    public func matches(_ candidate: String) -> Bool {
        let expected = Array(secret.utf8)
        let given = Array(candidate.utf8.prefix(expected.count + 1))
        var difference = UInt8(truncatingIfNeeded: expected.count ^ given.count)
        for (index, byte) in expected.enumerated() {
            difference |= byte ^ (index < given.count ? given[index] : 0)
        }
        return difference == 0
    }

    public var description: String { "APIToken(…)" }
    public var debugDescription: String { description }
}
