package import Control
import GRDB

/// The variables and sealed secrets of apps.
extension StateStore {
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
