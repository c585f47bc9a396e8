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

Deno.test("checkpoints are left out of what an app says, and its log tells of it", async () => {
  const main = `import { DatabaseSync } from "node:sqlite";
  const file = Deno.env.get("MARTLET_DATA") + "/a.db";
  const db = new DatabaseSync(file);
  db.exec("create table t (a)");
  // Replication's connection, which keeps the log when others close theirs.
  const reader = new DatabaseSync(file, { readOnly: true });
  reader.prepare("select * from t").all();
  const asked = [];
  db.setAuthorizer((action) => { asked.push(action); return 0; });
  const size = () => Deno.statSync(file + "-wal").size;
  db.exec("insert into t values (1); PRAGMA wal_checkpoint(truncate)");
  const full = size();
  const prepared = db.prepare("pragma /* all of it */ main . 'WAL_checkpoint' (restart)");
  const rows = [prepared.get(), prepared.all()[0]].map((row) => Object.keys(row).join());
  db.exec("pragma wal_autocheckpoint = 0x1; pragma wal_autocheckpoint(1)");
  const set = Object.values(db.prepare("pragma wal_autocheckpoint = 1").get());
  const text = "PRAGMA wal_checkpoint(truncate)";
  db.prepare("insert into t values ('" + text + "')").run();
  db.exec("insert into t values ('" + text + "')");
  const stored = reader.prepare("select count(*) as n from t where a = ?").get(text).n;
  const before = asked.length;
  db.prepare("select 1");
  export default { fetch() {
    return Response.json({ full, end: size(), rows, set, stored, isAsked: before > 0 && asked.length > before });
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    const { full, end, ...rest } = await (await worker.fetch("/")).json();
    assert.ok(full > 0 && end > full, `${full} and ${end}`);
    const columns = "busy,log,checkpointed";
    assert.deepEqual(rest, { rows: [columns, columns], set: [0], stored: 2, isAsked: true });
    const lines = worker.logs.filter(({ text }) => text.includes("has no effect here"));
    assert.deepEqual(lines.map(({ level, text }) => [level, text.split(" has ")[0]]), [
      ["warn", "PRAGMA wal_checkpoint"],
      ["warn", "PRAGMA wal_autocheckpoint"],
    ]);
  });
});

Deno.test("an app's web workers have the same SQLite", async () => {
  const thread = `import { DatabaseSync } from "node:sqlite";
  self.onmessage = ({ data }) => {
    const db = new DatabaseSync(data);
    db.exec("create table if not exists t (a); insert into t values (1)");
    const of = (name) => Object.values(db.prepare("PRAGMA " + name).get())[0];
    self.postMessage([of("journal_mode"), of("wal_autocheckpoint = 5"), import.meta.url.endsWith("/thread.ts")]);
  };`;
  const main = `const data = Deno.env.get("MARTLET_DATA") + "/";
  const ask = (worker, name) => new Promise((resolve, reject) => {
    worker.onmessage = (event) => { worker.terminate(); resolve(event.data); };
    worker.onerror = reject;
    worker.postMessage(data + name);
  });
  export default { async fetch() {
    const file = new Worker(new URL("./thread.ts", import.meta.url), { type: "module" });
    const inline = new Worker("data:text/javascript," + encodeURIComponent(${
    JSON.stringify(thread)
  }), { type: "module" });
    return Response.json([await ask(file, "a.db"), await ask(inline, "b.db")]);
  } };`;
  await withWorker({ "main.ts": main, "thread.ts": thread }, async (worker) => {
    await worker.start();
    const answer = await worker.fetch("/");
    assert.deepEqual(await answer.json(), [["wal", 0, true], ["wal", 0, false]]);
    assert.equal(answer.headers.get("x-martlet-statements")?.[0], "1");
  });
});

Deno.test("an answer says whether anything was written while it was made, by whom ever", async () => {
  const main = `import { DatabaseSync } from "node:sqlite";
  const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/a.db");
  db.exec("create table t (a)");
  const waiting = [];
  // A queue that is emptied by a timer of the app, in no request.
  setInterval(() => {
    if (waiting.length === 0) return;
    db.exec("insert into t values (1)");
    for (const resolve of waiting.splice(0)) resolve();
  }, 20);
  const store = db.createTagStore?.();
  export default { async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/queue") await new Promise((resolve) => waiting.push(resolve));
    if (pathname === "/tag") store.run\`insert into t values (2)\`;
    if (pathname === "/write") db.prepare("insert into t values (3)").run();
    return Response.json(db.prepare("select count(*) as n from t").get());
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    const said: Record<string, string> = {};
    for (const path of ["/read", "/queue", "/write", "/tag", "/read"]) {
      const answer = await worker.fetch(path);
      assert.equal(answer.status, 200);
      await answer.body?.cancel();
      said[path] = answer.headers.get("x-martlet-statements")!.slice(0, 1);
    }
    assert.deepEqual(said, { "/read": "0", "/queue": "1", "/write": "1", "/tag": "1" });
  });
});
