import { DatabaseSync } from "node:sqlite";

/**
 * Turns every database that an app opens to a write-ahead log before the app uses it.
 *
 * The host streams databases while they are used, which needs that mode. If the host turned one over,
 * a statement of the app that runs at the same moment would fail with "database is locked", whatever
 * the time-out: SQLite does not wait where two connections each want what the other has. An app that
 * asks for another mode afterwards gets it.
 */
export function patchDatabases(): void {
  const prototype = DatabaseSync.prototype;
  const { prepare, exec } = prototype;
  const seen = new WeakSet<DatabaseSync>();
  function meet(database: DatabaseSync): void {
    if (seen.has(database)) return;
    seen.add(database);
    try {
      prepare.call(database, "PRAGMA journal_mode = WAL").get();
    } catch {
      // Closed, read-only or no database at all: what the app does next says so.
    }
  }
  prototype.prepare = function (this: DatabaseSync, ...values: Parameters<typeof prepare>) {
    meet(this);
    return prepare.apply(this, values);
  };
  prototype.exec = function (this: DatabaseSync, ...values: Parameters<typeof exec>) {
    meet(this);
    return exec.apply(this, values);
  };
}
