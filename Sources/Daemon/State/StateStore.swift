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

    // MARK: - Versions

    /// Records a version that is complete on the disk.
    package func add(_ version: Version) async throws {
        let settings = try JSONEncoder().encode(version.settings)
        try await database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO versions (app, id, created_at, artifact_bytes, uses_cache, main, settings)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (app, id) DO UPDATE SET settings = excluded.settings, main = excluded.main,
                        uses_cache = excluded.uses_cache
                    """,
                arguments: [
                    version.app.rawValue, version.id.rawValue, version.createdAt.timeIntervalSince1970,
                    version.artifactBytes, version.usesCache, version.main, settings,
                ]
            )
        }
    }

    /// Makes a version the one that serves.
    package func use(_ version: Version, now: Date) async throws {
        let sleepAfter = try version.settings.sleepAfter.map { try JSONEncoder().encode($0) }
        try await database.write { database in
            try database.execute(
                sql: "UPDATE apps SET version = ?, deployed_at = ?, sleep_after = ? WHERE name = ?",
                arguments: [version.id.rawValue, now.timeIntervalSince1970, sleepAfter, version.app.rawValue]
            )
            try database.execute(
                sql: "UPDATE versions SET used_at = ? WHERE app = ? AND id = ?",
                arguments: [now.timeIntervalSince1970, version.app.rawValue, version.id.rawValue]
            )
        }
    }

    /// The versions of an app, newest first.
    package func versions(of app: ApplicationID) async throws -> [Version] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: "SELECT * FROM versions WHERE app = ? ORDER BY created_at DESC, rowid DESC",
                arguments: [app.rawValue]
            ).map(Self.version)
        }
    }

    package func version(_ id: VersionID, of app: ApplicationID) async throws -> Version? {
        try await database.read { database in
            try Row.fetchOne(
                database,
                sql: "SELECT * FROM versions WHERE app = ? AND id = ?",
                arguments: [app.rawValue, id.rawValue]
            ).map(Self.version)
        }
    }

    /// The version that served before the current one, if there was any.
    package func versionBefore(_ current: VersionID?, of app: ApplicationID) async throws -> Version? {
        try await database.read { database in
            try Row.fetchOne(
                database,
                sql: """
                    SELECT * FROM versions WHERE app = ? AND id != ? AND used_at IS NOT NULL
                    ORDER BY used_at DESC LIMIT 1
                    """,
                arguments: [app.rawValue, current?.rawValue ?? ""]
            ).map(Self.version)
        }
    }

    /// Forgets versions of an app beyond the newest `count`, the current one excepted.
    ///
    /// Returns those that no app has any more.
    package func prune(_ app: ApplicationID, keeping count: Int) async throws -> [VersionID] {
        try await database.write { database in
            let old = try String.fetchAll(
                database,
                sql: """
                    SELECT id FROM versions WHERE app = ?1 AND id IS NOT (SELECT version FROM apps WHERE name = ?1)
                    ORDER BY COALESCE(used_at, created_at) DESC LIMIT -1 OFFSET ?2
                    """,
                arguments: [app.rawValue, count]
            )
            for id in old {
                try database.execute(
                    sql: "DELETE FROM versions WHERE app = ? AND id = ?",
                    arguments: [app.rawValue, id]
                )
            }
            return try old.filter { try !Self.isUsed($0, database) }.map { try VersionID(validating: $0) }
        }
    }

    /// Whether any app has the version.
    package func isUsed(_ version: VersionID) async throws -> Bool {
        try await database.read { try Self.isUsed(version.rawValue, $0) }
    }

    // MARK: - Environment

    package func environment(of app: ApplicationID) async throws -> [Variable] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: "SELECT name, value, is_secret FROM environment WHERE app = ? ORDER BY name",
                arguments: [app.rawValue]
            ).map { Variable(name: $0["name"], value: $0["value"], isSecret: $0["is_secret"]) }
        }
    }

    package func set(_ variables: [Variable], of app: ApplicationID) async throws {
        try await database.write { database in
            for variable in variables {
                try database.execute(
                    sql: """
                        INSERT INTO environment (app, name, value, is_secret) VALUES (?, ?, ?, ?)
                        ON CONFLICT (app, name) DO UPDATE SET value = excluded.value, is_secret = excluded.is_secret
                        """,
                    arguments: [app.rawValue, variable.name, variable.value, variable.isSecret]
                )
            }
        }
    }

    /// Makes the variables of an app exactly these; without a change nothing is written.
    package func replaceEnvironment(_ variables: [Variable], of app: ApplicationID) async throws {
        let before = try await environment(of: app)
        let names = Set(variables.map(\.name))
        let gone = before.map(\.name).filter { !names.contains($0) }
        if !gone.isEmpty { try await unset(gone, of: app) }
        let changed = variables.filter { !before.contains($0) }
        if !changed.isEmpty { try await set(changed, of: app) }
    }

    package func unset(_ names: [String], of app: ApplicationID) async throws {
        try await database.write { database in
            for name in names {
                try database.execute(
                    sql: "DELETE FROM environment WHERE app = ? AND name = ?",
                    arguments: [app.rawValue, name]
                )
            }
        }
    }
}

extension StateStore {
    private static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("apps, versions, environment") { database in
            try database.execute(
                sql: """
                    CREATE TABLE apps (
                        name TEXT PRIMARY KEY NOT NULL,
                        owner TEXT NOT NULL,
                        created_at REAL NOT NULL,
                        deployed_at REAL,
                        version TEXT,
                        sleep_after BLOB,
                        epoch INTEGER NOT NULL DEFAULT 0
                    ) STRICT;
                    CREATE TABLE versions (
                        app TEXT NOT NULL REFERENCES apps (name) ON DELETE CASCADE,
                        id TEXT NOT NULL,
                        created_at REAL NOT NULL,
                        used_at REAL,
                        artifact_bytes INTEGER NOT NULL,
                        uses_cache INTEGER NOT NULL,
                        main TEXT NOT NULL,
                        settings BLOB NOT NULL,
                        PRIMARY KEY (app, id)
                    ) STRICT;
                    CREATE INDEX versions_by_id ON versions (id);
                    CREATE TABLE environment (
                        app TEXT NOT NULL REFERENCES apps (name) ON DELETE CASCADE,
                        name TEXT NOT NULL,
                        value BLOB NOT NULL,
                        is_secret INTEGER NOT NULL,
                        PRIMARY KEY (app, name)
                    ) STRICT;
                    """
            )
        }
        migrator.registerMigration("cron", migrate: migrateCron)
        return migrator
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

    private static func version(_ row: Row) throws -> Version {
        Version(
            id: try VersionID(validating: row["id"]),
            app: try ApplicationID(validating: row["app"]),
            createdAt: Date(timeIntervalSince1970: row["created_at"]),
            artifactBytes: row["artifact_bytes"],
            usesCache: row["uses_cache"],
            main: row["main"],
            settings: try JSONDecoder().decode(ApplicationSettings.self, from: row["settings"] as Data)
        )
    }

    private static func isUsed(_ version: String, _ database: Database) throws -> Bool {
        try Bool.fetchOne(
            database,
            sql: "SELECT EXISTS (SELECT 1 FROM versions WHERE id = ?)",
            arguments: [version]
        ) ?? false
    }
}
