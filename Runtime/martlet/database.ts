import { DatabaseSync } from "node:sqlite";
import { onClose } from "./internal/hooks.ts";

const open = new Map<string, DatabaseSync>();

/**
 * The app's database `$MARTLET_DATA/<name>.db`, opened once; the same object for the same name.
 *
 * It is in WAL mode with a busy time-out of 5 s and foreign keys on, and it is closed when the
 * worker ends. On a host the log is emptied by replication, once its content is replicated. Outside of Martlet, without `MARTLET_DATA`, it lies in the folder `data`.
 */
export function database(name = "main"): DatabaseSync {
  const known = open.get(name);
  if (known !== undefined) return known;
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(name)) {
    throw new TypeError(`database("${name}"): a name has letters, digits, - and _, and no ending`);
  }
  let folder = Deno.env.get("MARTLET_DATA");
  // What is replicated is also checkpointed by replication: an app that did it too would only wait for it.
  const checkpoints = folder === undefined ? "" : "PRAGMA wal_autocheckpoint = 0;";
  if (folder === undefined) {
    folder = "data";
    Deno.mkdirSync(folder, { recursive: true });
  }
  const database = new DatabaseSync(`${folder}/${name}.db`);
  database.exec(
    `PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; ${checkpoints}`,
  );
  open.set(name, database);
  onClose(() => {
    open.delete(name);
    if (database.isOpen) database.close();
  });
  return database;
}
