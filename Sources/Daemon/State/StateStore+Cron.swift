package import Control
package import Foundation
import GRDB

extension StateStore {
    /// A job of an app, and what is known of its runs.
    package struct Cron: Sendable, Equatable {
        package var job: CronJob
        /// The last slot that was decided.
        package var lastSlot: CronSlot
        package var lastRun: CronRun?
    }

    /// One run of a job.
    package struct CronRun: Sendable, Equatable {
        package var slot: CronSlot
        package var startedAt: Date
        /// Nothing while it runs, and for one that the host did not see end.
        package var milliseconds: Int?
        package var error: String?
    }

    static func migrateCron(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE cron (
                    app TEXT NOT NULL REFERENCES apps (name) ON DELETE CASCADE,
                    schedule TEXT NOT NULL,
                    path TEXT NOT NULL DEFAULT '',
                    catch_up TEXT NOT NULL,
                    last_slot INTEGER NOT NULL,
                    run_slot INTEGER,
                    run_started_at REAL,
                    run_milliseconds INTEGER,
                    run_error TEXT,
                    PRIMARY KEY (app, schedule, path)
                ) STRICT
                """
        )
    }

    /// The jobs of all apps.
    package func cron() throws -> [ApplicationID: [Cron]] {
        try database.read { database in
            var jobs: [ApplicationID: [Cron]] = [:]
            let rows = try Row.fetchCursor(database, sql: "SELECT * FROM cron ORDER BY app, rowid")
            while let row = try rows.next() {
                jobs[try ApplicationID(validating: row["app"]), default: []].append(Self.cron(row))
            }
            return jobs
        }
    }

    /// Makes these the jobs of an app; what is known of a job that stays is kept.
    package func setCron(_ entries: [CronPlan.Entry], of app: ApplicationID) async throws {
        try await database.write { database in
            let known = try Row.fetchAll(
                database,
                sql: "SELECT * FROM cron WHERE app = ?",
                arguments: [app.rawValue]
            ).map(Self.cron)
            for old in known where !entries.contains(where: { $0.job.description == old.job.description }) {
                try database.execute(
                    sql: "DELETE FROM cron WHERE app = ? AND schedule = ? AND path = ?",
                    arguments: [app.rawValue, old.job.schedule, old.job.path ?? ""]
                )
            }
            for entry in entries {
                try database.execute(
                    sql: """
                        INSERT INTO cron (app, schedule, path, catch_up, last_slot) VALUES (?, ?, ?, ?, ?)
                        ON CONFLICT (app, schedule, path) DO UPDATE SET catch_up = excluded.catch_up
                        """,
                    arguments: [
                        app.rawValue, entry.job.schedule, entry.job.path ?? "", entry.job.catchUp.rawValue,
                        entry.lastSlot.rawValue,
                    ]
                )
            }
        }
    }

    /// Takes a slot of a job for good, before anything is done about it.
    ///
    /// `startedAt`: when its run starts; nothing where it is only noted.
    ///
    /// - Returns: whether the slot was free: a slot is given once, whatever crashes afterwards.
    package func claim(
        _ slot: CronSlot,
        of job: CronJob,
        _ app: ApplicationID,
        startedAt: Date?
    ) async throws -> Bool {
        try await database.write { database in
            try database.execute(
                sql: """
                    UPDATE cron SET last_slot = ?1 WHERE app = ?2 AND schedule = ?3 AND path = ?4 AND last_slot < ?1
                    """,
                arguments: [slot.rawValue, app.rawValue, job.schedule, job.path ?? ""]
            )
            guard database.changesCount == 1 else { return false }
            if let startedAt {
                try database.execute(
                    sql: """
                        UPDATE cron SET run_slot = ?, run_started_at = ?, run_milliseconds = NULL, run_error = NULL
                        WHERE app = ? AND schedule = ? AND path = ?
                        """,
                    arguments: [
                        slot.rawValue, startedAt.timeIntervalSince1970, app.rawValue, job.schedule,
                        job.path ?? "",
                    ]
                )
            }
            return true
        }
    }

    /// Records how a run ended.
    package func finish(_ run: CronRun, of job: CronJob, _ app: ApplicationID) async throws {
        try await database.write { database in
            try database.execute(
                sql: """
                    UPDATE cron SET run_milliseconds = ?, run_error = ?
                    WHERE app = ? AND schedule = ? AND path = ? AND run_slot = ?
                    """,
                arguments: [
                    run.milliseconds, run.error, app.rawValue, job.schedule, job.path ?? "",
                    run.slot.rawValue,
                ]
            )
        }
    }

    private static func cron(_ row: Row) -> Cron {
        let path: String = row["path"]
        var run: CronRun?
        if let slot = row["run_slot"] as Int?, let startedAt = row["run_started_at"] as Double? {
            run = CronRun(
                slot: CronSlot(rawValue: slot),
                startedAt: Date(timeIntervalSince1970: startedAt),
                milliseconds: row["run_milliseconds"],
                error: row["run_error"]
            )
        }
        return Cron(
            job: CronJob(
                schedule: row["schedule"],
                path: path.isEmpty ? nil : path,
                catchUp: CronJob.CatchUp(rawValue: row["catch_up"]) ?? .once
            ),
            lastSlot: CronSlot(rawValue: row["last_slot"]),
            lastRun: run
        )
    }
}
