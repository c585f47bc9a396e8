/// The name of an app, which is also the first label of its address: `guestbook` in `guestbook.localhost`.
public struct ApplicationID: Identifier {
    public let rawValue: String

    /// Names that addresses of the platform itself use, now or later.
    public static let reserved: Set<String> = [
        "admin", "api", "control", "dashboard", "healthz", "host", "local", "localhost", "martlet", "metrics",
        "www",
    ]

    /// Stands where an app's name is not known yet; no app can have it.
    package static let unknown = Self(known: "")

    private init(known: String) { rawValue = known }

    public init(validating string: String) throws(MartletError) {
        guard isDNSLabel(string) else {
            throw MartletError(
                .badRequest,
                "\"\(string.prefix(80))\" cannot be an app's name: a name is 1 to 63 of a-z, 0-9 and -, "
                    + "and starts and ends with a letter or digit"
            )
        }
        guard !Self.reserved.contains(string), !string.hasPrefix("xn--") else {
            throw MartletError(
                .badRequest,
                "\"\(string)\" is a reserved name; choose another, for example \"my-\(string)\""
            )
        }
        rawValue = string
    }
}
