package import Control
package import Foundation
import GRDB

/// The versions of apps.
extension StateStore {
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
