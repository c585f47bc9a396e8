/**
 * Makes the runtime's SQLite fit for replication: it knows when statements ran that may write, and leaves
 * checkpoints to the host.
 *
 * The host holds an answer until everything that was committed is in the replica. While others write,
 * that would hold the answers of requests that only read, too. So each answer says whether anything was
 * written while its request was handled, and how many statements that may write the process has run: the
 * host compares that with the transactions in the databases' logs and believes it only where both agree,
 * since a library that brings its own SQLite is not seen here. Whoever's work the write was: a request may
 * wait for what another one, a timer or a queue commits for it.
 */
import { constants, DatabaseSync, StatementSync } from "node:sqlite";

/** The line of an answer's head that only the host sees. */
export const statementsHeader = "x-martlet-statements";

let count = 0;
/** Whether the app has threads, whose statements are not counted here. */
let hasThreads = false;
const beginnings = new WeakMap<object, number>();
const setBeginning = WeakMap.prototype.set.bind(beginnings);
const beginning = WeakMap.prototype.get.bind(beginnings);
const writes = new WeakSet<object>();
const [add, has] = [WeakSet.prototype.add, WeakSet.prototype.has];
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
}

/** A request's handling begins. */
export function beginStatements(scope: object): void {
  setBeginning(scope, count);
}

/** What the host is told with an answer. */
export function statementsReport(scope: object): string {
  return `${hasThreads || beginning(scope) !== count ? 1 : 0} ${count}`;
}

/**
 * Settles databases, counts statements, and keeps checkpoints away. Called once in each thread, before user code is
 * loaded. `warn` takes what the app's log is to say.
 */
export function patchSQLite(warn: (text: string) => void): void {
  const { exec, prepare, applyChangeset, createTagStore } = DatabaseSync.prototype as ExtendedDatabase;
  const keepCheckpoints = patchCheckpoints(warn);
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
    return keepCheckpoints(this, sql, () => exec.call(this, sql)).value;
  };
  DatabaseSync.prototype.prepare = function (...args: Parameters<DatabaseSync["prepare"]>) {
    settle(this);
    const first = keepCheckpoints(this, args[0], () => prepare.apply(this, args));
    // In its place comes what gives rows of the same form and changes nothing.
    const statement = first.instead === null
      ? first.value
      : prepare.call(this, first.instead, ...args.slice(1) as []);
    if (mayWrite(String(args[0]))) addWrite(statement);
    return statement;
  };
  (DatabaseSync.prototype as ExtendedDatabase).applyChangeset = function (...args) {
    settle(this);
    note(1);
    return applyChangeset.apply(this, args);
  };
  // Its statements are prepared out of sight: any of them may write.
  (DatabaseSync.prototype as ExtendedDatabase).createTagStore = function (...args) {
    settle(this);
    const store = createTagStore.apply(this, args);
    for (const name of ["run", "get", "all", "iterate"]) {
      const method = store[name];
      if (typeof method !== "function") continue;
      store[name] = (strings: TemplateStringsArray, ...values: unknown[]) => {
        note(1);
        return keepCheckpoints(this, strings.join("?"), () => method.call(store, strings, ...values)).value;
      };
    }
    return store;
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

type Authorizer = (
  action: number,
  first: string | null,
  second: string | null,
  ...rest: (string | null)[]
) => number;

/** What this version of the runtime has beyond its own declarations. */
type ExtendedDatabase = DatabaseSync & {
  setAuthorizer(authorizer: Authorizer | null): void;
  applyChangeset(...args: unknown[]): boolean;
  createTagStore(...args: unknown[]): Record<string, unknown>;
};

/** Runs work with a database and says what is to be prepared instead of a statement that was left out, if any. */
type CheckpointKeeper = <Value>(
  database: DatabaseSync,
  sql: unknown,
  work: () => Value,
) => { value: Value; instead: string | null };

/**
 * Leaves out every `PRAGMA wal_checkpoint` and any `PRAGMA wal_autocheckpoint` that would turn checkpoints on.
 *
 * A checkpoint that is not replication's own lets the write-ahead log begin anew. What replication had not read of it by
 * then is missing in the replica from then on, which makes it useless. SQLite itself says which pragma a text has:
 * an authorizer is asked for each while the text is compiled. It is there only for texts with one of the names.
 */
function patchCheckpoints(warn: (text: string) => void): CheckpointKeeper {
  const prototype = DatabaseSync.prototype as ExtendedDatabase;
  const { setAuthorizer } = prototype;
  const owned = new WeakMap<object, Authorizer | null>();
  const [get, set] = [WeakMap.prototype.get.bind(owned), WeakMap.prototype.set.bind(owned)];
  const { SQLITE_IGNORE, SQLITE_OK, SQLITE_PRAGMA } = constants as Record<string, number>;
  const told = new Set<string>();
  prototype.setAuthorizer = function (authorizer) {
    setAuthorizer.call(this, authorizer);
    set(this, authorizer);
  };
  return (database, sql, work) => {
    if (!/wal_(?:auto)?checkpoint/i.test(String(sql))) return { value: work(), instead: null };
    const own = get(database) ?? null;
    let instead: string | null = null;
    const authorizer: Authorizer = (action, first, second, ...rest) => {
      const substitute = action === SQLITE_PRAGMA ? harmless(first, second) : null;
      if (substitute === null) return own === null ? SQLITE_OK! : own(action, first, second, ...rest);
      instead = substitute;
      if (!told.has(substitute)) {
        told.add(substitute);
        warn(
          `PRAGMA ${first} has no effect here: the host makes the checkpoints of databases that it replicates, ` +
            "and another's would cost the replica what it has not read yet",
        );
      }
      return SQLITE_IGNORE!;
    };
    try {
      setAuthorizer.call(database as ExtendedDatabase, authorizer);
    } catch {
      // Closed: the work says so.
      return { value: work(), instead };
    }
    try {
      return { value: work(), instead };
    } finally {
      if (database.isOpen) setAuthorizer.call(database as ExtendedDatabase, own);
    }
  };
}

/** What a pragma is replaced with; `null` for one that does no harm. */
function harmless(name: string | null, value: string | null): string | null {
  switch (name?.toLowerCase()) {
    case "wal_checkpoint":
      return value?.toLowerCase() === "noop" ? null : "PRAGMA wal_checkpoint(NOOP)";
    case "wal_autocheckpoint":
      return value === null || /^(?:0+|-\d+)$/.test(value) ? null : "PRAGMA wal_autocheckpoint";
    default:
      return null;
  }
}

/**
 * Makes SQLite in the app's web workers what it is in the app itself. Called once in each thread, before user code is
 * loaded. `patch`: the address of a module that a thread loads first.
 */
export function patchThreads(patch: string): void {
  const NativeWorker = globalThis.Worker;
  globalThis.Worker = class Worker extends NativeWorker {
    constructor(specifier: string | URL, options?: WorkerOptions) {
      hasThreads = true;
      super(threadModule(patch, specifier), options);
    }
  };
}

/** A module that loads both in turn; what is no address is left for the runtime to refuse. */
function threadModule(patch: string, specifier: string | URL): string | URL {
  if (!URL.canParse(String(specifier))) return specifier;
  const text = [patch, new URL(specifier).href].map((address) => `import ${JSON.stringify(address)};`).join(
    "",
  );
  return `data:text/javascript,${encodeURIComponent(text)}`;
}
