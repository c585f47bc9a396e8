public import Control

/// Tells whose token it is.
public protocol Authenticator: Sendable {
    /// The user whom the token belongs to, or nothing.
    func user(presenting token: String) async -> UserID?
}

/// One token for one user, as under `martlet up`.
public struct SingleTokenAuthenticator: Authenticator {
    private let token: APIToken
    private let user: UserID

    public init(token: APIToken, user: UserID) {
        self.token = token
        self.user = user
    }

    public func user(presenting candidate: String) async -> UserID? {
        token.matches(candidate) ? user : nil
    }
}
