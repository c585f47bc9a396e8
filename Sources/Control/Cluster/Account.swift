public import struct Foundation.Date

/// A user's account, as listings show it.
public struct Account: Codable, Sendable, Equatable {
    /// What a user may have; nil for as much as there is.
    public struct Quotas: Codable, Sendable, Equatable {
        public var apps: Int?
        /// Of artifacts in all.
        public var bytes: Int?
        /// Cores that the apps may use together.
        public var cpu: Double?

        public init(apps: Int? = nil, bytes: Int? = nil, cpu: Double? = nil) {
            self.apps = apps
            self.bytes = bytes
            self.cpu = cpu
        }
    }

    /// A token without its secret, which is not kept anywhere.
    public struct Token: Codable, Sendable, Equatable {
        public var id: String
        /// What the person calls it, such as the machine that it is on.
        public var name: String
        public var createdAt: Date

        public init(id: String, name: String, createdAt: Date) {
            self.id = id
            self.name = name
            self.createdAt = createdAt
        }
    }

    public var id: UserID
    public var createdAt: Date
    public var quotas: Quotas
    public var apps: [ApplicationID]
    public var usedBytes: Int
    public var tokens: [Token]

    public init(
        id: UserID,
        createdAt: Date,
        quotas: Quotas,
        apps: [ApplicationID],
        usedBytes: Int,
        tokens: [Token]
    ) {
        self.id = id
        self.createdAt = createdAt
        self.quotas = quotas
        self.apps = apps
        self.usedBytes = usedBytes
        self.tokens = tokens
    }
}

/// A token right after it was made: the only time that its secret is shown.
public struct NewToken: Codable, Sendable, Equatable {
    public var id: String
    public var user: UserID
    public var token: String

    public init(id: String, user: UserID, token: String) {
        self.id = id
        self.user = user
        self.token = token
    }
}

/// What can be done with the accounts of a cluster.
///
/// Every method throws ``MartletError``.
public protocol AccountAdministration: Sendable {
    func accounts() async throws -> [Account]
    /// Makes an account, or changes its quotas.
    func setAccount(_ user: UserID, quotas: Account.Quotas) async throws -> Account
    /// Makes a token; an account that does not exist is made.
    func addToken(to user: UserID, name: String) async throws -> NewToken
    func removeToken(_ id: String, of user: UserID) async throws
}
