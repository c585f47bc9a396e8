import GRDB

/// The tables, as they came to be.
extension StateStore {
    static var migrator: DatabaseMigrator {
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
}
