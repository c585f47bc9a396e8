import assert from "node:assert/strict";
import { withWorker } from "./fixture.ts";

Deno.test("databases have a write-ahead log from their first statement, unless the app wants another", async () => {
  const main = `import { DatabaseSync } from "node:sqlite";
  import { createRequire } from "node:module";
  const folder = Deno.env.get("MARTLET_DATA");
  const mode = (database) => database.prepare("PRAGMA journal_mode").get().journal_mode;
  const plain = new DatabaseSync(folder + "/plain.db");
  plain.exec("create table t (a)");
  const prepared = new DatabaseSync(folder + "/prepared.db");
  prepared.prepare("create table t (a)").run();
  const other = new DatabaseSync(folder + "/other.db");
  other.exec("PRAGMA journal_mode = DELETE; create table t (a)");
  const required = new (createRequire(import.meta.url)("node:sqlite").DatabaseSync)(folder + "/required.db");
  required.exec("create table t (a)");
  const reader = new DatabaseSync(folder + "/plain.db", { readOnly: true });
  const memory = new DatabaseSync(":memory:");
  export default { fetch() {
    return Response.json([plain, prepared, other, required, reader, memory].map(mode));
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    assert.deepEqual(await (await worker.fetch("/")).json(), [
      "wal",
      "wal",
      "delete",
      "wal",
      "wal",
      "memory",
    ]);
  });
});

Deno.test("no connection of an app checkpoints by itself, however it was opened", async () => {
  const main = `import { DatabaseSync } from "node:sqlite";
  import { createRequire } from "node:module";
  const folder = Deno.env.get("MARTLET_DATA");
  const pages = (database) => Object.values(database.prepare("PRAGMA wal_autocheckpoint").get())[0];
  const executed = new DatabaseSync(folder + "/a.db");
  executed.exec("create table t (a)");
  const prepared = new DatabaseSync(folder + "/a.db");
  prepared.prepare("select * from t").all();
  const required = new (createRequire(import.meta.url)("node:sqlite").DatabaseSync)(folder + "/b.db");
  export default { fetch() { return Response.json([executed, prepared, required].map(pages)); } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    assert.deepEqual(await (await worker.fetch("/")).json(), [0, 0, 0]);
  });
});

Deno.test("the framework's database leaves checkpoints to replication", async () => {
  const main = `import { database } from "martlet";
  export default { fetch() {
    const of = (name) => Object.values(database().prepare("PRAGMA " + name).get())[0];
    return Response.json(["journal_mode", "busy_timeout", "wal_autocheckpoint", "foreign_keys"].map(of));
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    assert.deepEqual(await (await worker.fetch("/")).json(), ["wal", 5000, 0, 1]);
  });
});
