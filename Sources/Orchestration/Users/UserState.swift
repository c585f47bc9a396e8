package import Control
package import struct Foundation.Date

/// What a user's workflow remembers, as a value.
package struct UserState: Codable, Sendable, Equatable {
    package var user: UserID
    package var createdAt: Date
    package var quotas = Account.Quotas()
    package var tokens: [Token] = []
    package var apps: [ApplicationID: Claim] = [:]

    static let tokenLimit = 100

    package init(user: UserID, createdAt: Date) {
        self.user = user
        self.createdAt = createdAt
    }

    /// A token, of which only the hash is kept.
    package struct Token: Codable, Sendable, Equatable {
        package var shown: Account.Token
        /// SHA-256 of the token in hexadecimal: enough, as a token has 256 random bits.
        package var hash: String
    }

    /// What an app takes of the quotas.
    package struct Claim: Codable, Sendable, Equatable {
        package var bytes: Int
        package var cpu: Double
    }

    package var account: Account {
        Account(
            id: user,
            createdAt: createdAt,
            quotas: quotas,
            apps: apps.keys.sorted(),
            usedBytes: apps.values.reduce(0) { $0 + $1.bytes },
            tokens: tokens.map(\.shown)
        )
    }

    package mutating func add(_ token: Token) throws(MartletError) {
        if tokens.contains(where: { $0.shown.id == token.shown.id }) { return }
        guard tokens.count < Self.tokenLimit else {
            throw MartletError(
                .quotaExceeded,
                "\(user) has \(tokens.count) tokens already; remove one with `martlet token remove`"
            )
        }
        tokens.append(token)
    }

    package mutating func removeToken(_ id: String) throws(MartletError) {
        guard tokens.contains(where: { $0.shown.id == id }) else {
            throw MartletError(.notFound, "\(user) has no token \(id); `martlet users` lists them")
        }
        tokens.removeAll { $0.shown.id == id }
    }

    /// Counts an app, or its new version, against the quotas.
    ///
    /// - Throws: ``MartletError`` with code `quota_exceeded`, saying how much there is and how much it would be.
    package mutating func claim(_ app: ApplicationID, _ claim: Claim) throws(MartletError) {
        var after = apps
        after[app] = claim
        if let limit = quotas.apps, after.count > limit {
            throw MartletError(
                .quotaExceeded,
                "\(user) may have \(limit) apps and has them already; delete one, or ask for more"
            )
        }
        let bytes = after.values.reduce(0) { $0 + $1.bytes }
        if let limit = quotas.bytes, bytes > limit {
            throw MartletError(
                .quotaExceeded,
                "the apps of \(user) may take \(ByteCount.format(limit)) together, and with this one it would be "
                    + ByteCount.format(bytes)
            )
        }
        let cpu = after.keys.sorted().reduce(0.0) { $0 + (after[$1]?.cpu ?? 0) }
        if let limit = quotas.cpu, cpu > limit {
            throw MartletError(
                .quotaExceeded,
                "the apps of \(user) may use \(limit) cores together, and with this one it would be \(cpu)"
            )
        }
        apps = after
    }

    package mutating func release(_ app: ApplicationID) { apps[app] = nil }
}
