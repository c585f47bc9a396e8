package import Control
package import Foundation
import GRDB

/// The state of a host's apps, in one SQLite database.
///
/// Every change is on the disk when its call returns.
package struct StateStore: Sendable {
    let database: DatabaseQueue

    /// Opens the database, and makes or updates its tables.
    package init(path: String) throws {
        var configuration = Configuration()
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            // Slower than NORMAL, but what was acknowledged survives the power's failure too.
            try database.execute(sql: "PRAGMA synchronous = FULL")
            try database.execute(sql: "PRAGMA cache_size = -4000")
        }
        database = try DatabaseQueue(path: path, configuration: configuration)
        try Self.migrator.migrate(database)
    }

    /// What a listing of all apps needs, small enough to be kept for every app.
    package struct Application: Sendable, Equatable {
        package var id: ApplicationID
        package var owner: UserID
        package var createdAt: Date
        package var deployedAt: Date?
        /// Nothing before the first deployment has succeeded.
        package var version: VersionID?
        package var sleepAfter: ApplicationSettings.SleepPolicy?
    }

    /// One version of an app.
    package struct Version: Sendable, Equatable {
        package var id: VersionID
        package var app: ApplicationID
        package var createdAt: Date
        package var artifactBytes: Int
        /// Whether it starts with its compiled modules at hand, in a worker of its own instead of one from the pool.
        package var usesCache: Bool
        /// The script, relative to the version's folder.
        package var main: String
        package var settings: ApplicationSettings

        package init(
            id: VersionID,
            app: ApplicationID,
            createdAt: Date,
            artifactBytes: Int,
            usesCache: Bool,
            main: String,
            settings: ApplicationSettings
        ) {
            self.id = id
            self.app = app
            self.createdAt = createdAt
            self.artifactBytes = artifactBytes
            self.usesCache = usesCache
            self.main = main
            self.settings = settings
        }
    }

    package struct Variable: Sendable, Equatable {
        package var name: String
        /// Sealed where it is a secret.
        package var value: Data
        package var isSecret: Bool
    }

    // MARK: - Apps

    package func applications() throws -> [Application] {
        try database.read { database in
            let rows = try Row.fetchCursor(
                database,
                sql:
                    "SELECT name, owner, created_at, deployed_at, version, sleep_after FROM apps ORDER BY name"
            )
            var applications: [Application] = []
            while let row = try rows.next() { applications.append(try Self.application(row)) }
            return applications
        }
    }

    /// Adds an app for an owner, or checks that the one that is there is theirs.
    ///
    /// - Throws: ``MartletError`` with code `name_taken` when it belongs to somebody else.
    package func claim(_ app: ApplicationID, for owner: UserID, now: Date) async throws -> Application {
        try await database.write { database in
            try database.execute(
                sql: "INSERT OR IGNORE INTO apps (name, owner, created_at) VALUES (?, ?, ?)",
                arguments: [app.rawValue, owner.rawValue, now.timeIntervalSince1970]
            )
            let row = try Row.fetchOne(
                database,
                sql:
                    "SELECT name, owner, created_at, deployed_at, version, sleep_after FROM apps WHERE name = ?",
                arguments: [app.rawValue]
            )
            guard let row else { throw MartletError(.internal, "the app \(app) could not be recorded") }
            let application = try Self.application(row)
            guard application.owner == owner else {
                throw MartletError(
                    .nameTaken,
                    "the name \(app) belongs to another user; choose another name in martlet.json or with --name"
                )
            }
            return application
        }
    }

    package func remove(_ app: ApplicationID) async throws {
        try await database.write { database in
            try database.execute(sql: "DELETE FROM apps WHERE name = ?", arguments: [app.rawValue])
        }
    }

    private static func application(_ row: Row) throws -> Application {
        Application(
            id: try ApplicationID(validating: row["name"]),
            owner: try UserID(validating: row["owner"]),
            createdAt: Date(timeIntervalSince1970: row["created_at"]),
            deployedAt: (row["deployed_at"] as Double?).map { Date(timeIntervalSince1970: $0) },
            version: try (row["version"] as String?).map { try VersionID(validating: $0) },
            sleepAfter: try (row["sleep_after"] as Data?).map {
                try JSONDecoder().decode(ApplicationSettings.SleepPolicy.self, from: $0)
            }
        )
    }
}
