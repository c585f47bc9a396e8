/**
 * Knows which requests have run SQL statements that may write.
 *
 * The host holds an answer until everything that was committed is in the replica. While others write,
 * that would hold the answers of requests that only read, too. So each answer says whether its
 * request has written, and how many such statements the process has run: the host compares that with
 * the transactions in the databases' logs and believes it only where both agree, since a library that
 * brings its own SQLite is not seen here.
 */
import { DatabaseSync, StatementSync } from "node:sqlite";
import { currentScope } from "../martlet/internal/scope.ts";

/** The line of an answer's head that only the host sees. */
export const statementsHeader = "x-martlet-statements";

let count = 0;
const writers = new WeakSet<object>();
const writes = new WeakSet<object>();
const [add, has] = [WeakSet.prototype.add, WeakSet.prototype.has];
const isWriter = has.bind(writers);
const addWriter = add.bind(writers);
const isWrite = has.bind(writes);
const addWrite = add.bind(writes);

/** Whether a statement can write: everything but a plain SELECT may, since a PRAGMA or a WITH does too. */
export function mayWrite(sql: string): boolean {
  return !/^\s*(?:select|values|explain)\b/i.test(sql);
}

/** How many statements a text may run: at most one more than it has semicolons. */
function statements(sql: string): number {
  let found = 1;
  for (let at = sql.indexOf(";"); at >= 0; at = sql.indexOf(";", at + 1)) found += 1;
  return found;
}

function note(number: number): void {
  count += number;
  const scope = currentScope();
  if (scope !== null) addWriter(scope);
}

/** What the host is told with an answer. */
export function statementsReport(scope: object): string {
  return `${isWriter(scope) ? 1 : 0} ${count}`;
}

/** Makes the runtime's SQLite fit for replication: databases are settled, and statements counted. Called once, before user code is loaded. */
export function patchSQLite(): void {
  const { exec, prepare } = DatabaseSync.prototype;
  const settled = new WeakSet<object>();
  const isSettled = has.bind(settled);
  const addSettled = add.bind(settled);
  /**
   * Makes a database ready to be streamed while it is used, before the app's first statement.
   *
   * Replication takes short locks, and a connection without a time-out would fail at them. It needs a
   * write-ahead log; if the host turned a database over to one, a statement of the app that runs at the
   * same moment would fail with "database is locked" whatever the time-out, because SQLite does not wait
   * where two connections each want what the other has. An app that asks for another mode gets it.
   *
   * What is replicated is checkpointed by replication: SQLite's own checkpoint, after 1,000 pages, lets
   * the log begin anew, and what replication had not read of it by then would be missing in the replica.
   */
  function settle(database: DatabaseSync): void {
    if (isSettled(database)) return;
    addSettled(database);
    try {
      if (prepare.call(database, "PRAGMA busy_timeout").get()?.timeout === 0) {
        exec.call(database, "PRAGMA busy_timeout = 5000");
      }
      exec.call(database, "PRAGMA wal_autocheckpoint = 0");
      // It writes the first page of a new file.
      note(1);
      prepare.call(database, "PRAGMA journal_mode = WAL").get();
    } catch {
      // Closed, read-only or no database at all: what the app does next says so.
    }
  }
  DatabaseSync.prototype.exec = function (sql: string) {
    settle(this);
    note(statements(String(sql)));
    return exec.call(this, sql);
  };
  DatabaseSync.prototype.prepare = function (...args: Parameters<DatabaseSync["prepare"]>) {
    settle(this);
    const statement = prepare.apply(this, args);
    if (mayWrite(String(args[0]))) addWrite(statement);
    return statement;
  };
  const prototype = StatementSync.prototype as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of ["run", "get", "all", "iterate"]) {
    const method = prototype[name]!;
    prototype[name] = function (this: object, ...args: unknown[]) {
      if (isWrite(this)) note(1);
      return method.apply(this, args);
    };
  }
}
