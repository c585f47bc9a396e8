/// An account: it owns apps, tokens and quotas.
public struct UserID: Identifier {
    public let rawValue: String

    /// The account that `martlet up` makes for the person who starts it.
    public static let local = Self(known: "local")

    public init(validating string: String) throws(MartletError) {
        guard isDNSLabel(string) else {
            throw MartletError(
                .badRequest,
                "\"\(string.prefix(80))\" cannot name a user: a name is 1 to 63 of a-z, 0-9 and -, "
                    + "and starts and ends with a letter or digit"
            )
        }
        rawValue = string
    }

    private init(known: String) { rawValue = known }
}
