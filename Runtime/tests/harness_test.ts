import assert from "node:assert/strict";
import { withWorker } from "./fixture.ts";

const hello =
  `export default { fetch: (request: Request) => new Response("hello " + new URL(request.url).pathname) };`;

Deno.test("a worker is ready, answers 503 without an app, then serves the app it is given", async () => {
  await withWorker({ "main.ts": hello }, async (worker) => {
    const ready = await worker.message("ready");
    assert.equal(ready.deno, Deno.version.deno);
    const early = await worker.fetch("/");
    assert.equal(early.status, 503);
    assert.equal(early.headers.get("x-martlet-worker"), "waiting");
    await early.body?.cancel();
    const started = await worker.start();
    assert.equal(started.type, "started");
    assert.equal(await (await worker.fetch("/there")).text(), "hello /there");
    assert.equal((await worker.stop()).code, 0);
    assert.equal(worker.messages.at(-1)!.type, "stopped");
  });
});

Deno.test("the app sees the address and headers as the client sent them", async () => {
  const main = `export default { async fetch(request: Request, env: Record<string, string>, ctx: any) {
    const copy = request.clone();
    const again = new Request(request);
    return Response.json({ url: request.url, copy: copy.url, again: again.url, isRequest: again instanceof Request && request instanceof Request,
      headers: [...request.headers], againHeaders: [...again.headers], body: await again.text(), method: again.method,
      env, id: ctx.requestId, app: ctx.app, version: ctx.version,
      process: [Deno.env.get("MARTLET_APP"), Deno.env.get("MARTLET_DATA"), Deno.env.get("GREETING")] });
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start({ env: { GREETING: "hei" }, app: "guestbook" });
    const answer = await worker.raw([
      "POST /a/b?c=d%20e HTTP/1.1",
      "Host: guestbook.localhost:8080",
      "x-forwarded-proto: https",
      "X-Martlet-Epoch: 7",
      "x-request-id: abc-1",
      "content-length: 4",
      "connection: close",
      "",
      "body",
    ].join("\r\n"));
    assert.match(answer, /\r\nx-request-id: abc-1\r\n/);
    const seen = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4));
    const url = "https://guestbook.localhost:8080/a/b?c=d%20e";
    assert.deepEqual([seen.url, seen.copy, seen.again, seen.isRequest], [url, url, url, true]);
    assert.deepEqual([seen.method, seen.body, seen.id, seen.app], ["POST", "body", "abc-1", "guestbook"]);
    assert.deepEqual(seen.env, { GREETING: "hei" });
    assert.deepEqual(seen.process, ["guestbook", worker.data, "hei"]);
    for (const headers of [seen.headers, seen.againHeaders]) {
      assert.equal(headers.some(([name]: [string]) => name.startsWith("x-martlet")), false);
      assert.equal(headers.some(([name]: [string]) => name === "x-request-id"), true);
    }
  });
});

Deno.test("an error gives 500 with the request id, no leak, and a log line with the stack", async () => {
  const main = `export default { fetch(request: Request) {
    const path = new URL(request.url).pathname;
    if (path === "/sync") throw new Error("secret of the house");
    if (path === "/text") return "no response" as any;
    if (path === "/reject") return Promise.reject(new Error("secret of the house"));
    return new Response("fine");
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    for (const path of ["/sync", "/reject", "/text"]) {
      const answer = await worker.fetch(path, { headers: { "x-request-id": `id-${path.slice(1)}` } });
      assert.equal(answer.status, 500);
      const body = await answer.json();
      assert.equal(body.requestId, `id-${path.slice(1)}`);
      assert.doesNotMatch(JSON.stringify(body), /secret|main\\.ts/);
    }
    assert.equal(await (await worker.fetch("/")).text(), "fine");
    const logged = await worker.until(
      "the log line",
      () => worker.logs.find((line) => line.requestId === "id-reject"),
    );
    assert.match(logged.text, /secret of the house/);
    assert.match(logged.text, /main\.ts:5/);
    assert.equal(logged.level, "error");
  });
});

Deno.test("rejections and errors that nobody handles are logged and do not end the worker", async () => {
  const main = `export default { fetch() {
    Promise.reject(new Error("stray rejection"));
    setTimeout(() => { throw new Error("stray error"); }, 0);
    return new Response("ok");
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    await (await worker.fetch("/")).text();
    await worker.until(
      "both lines",
      () =>
        worker.logs.some((l) => l.text.includes("stray rejection")) &&
        worker.logs.some((l) => l.text.includes("stray error")),
    );
    assert.equal(await (await worker.fetch("/")).text(), "ok");
  });
});

Deno.test("console lines carry level, time and request id; other output stays plain", async () => {
  const main = `console.info("loading");
  export default { async fetch() {
    console.debug("d", { a: 1 }); console.log("l %s", "x"); console.warn("w\\nsecond"); console.error(new Error("e"));
    await new Promise((r) => setTimeout(r, 5));
    console.group("g"); console.log("inside"); console.groupEnd(); console.table([{ a: 1 }]); console.assert(false, "claim");
    console.log("x".repeat(20000));
    await Deno.stdout.write(new TextEncoder().encode("plain text\\n"));
    return new Response("ok");
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    await (await worker.fetch("/", { headers: { "x-request-id": "r1" } })).text();
    await worker.until("plain text", () => worker.plain.includes("plain text"));
    const logs = worker.logs;
    assert.deepEqual([logs[0]!.text, logs[0]!.requestId, logs[0]!.level], ["loading", null, "info"]);
    assert.ok(logs.slice(1).every((line) => line.requestId === "r1"), JSON.stringify(logs));
    const text = (i: number) => [logs[i]!.level, logs[i]!.text];
    assert.deepEqual(text(1), ["debug", "d { a: 1 }"]);
    assert.deepEqual(text(2), ["info", "l x"]);
    assert.deepEqual(text(3), ["warn", "w\nsecond"]);
    assert.match(logs[4]!.text, /Error: e/);
    assert.equal(logs[6]!.text, "  inside");
    assert.match(logs[7]!.text, /│/);
    assert.equal(logs[8]!.level, "error");
    assert.match(logs[9]!.text, /^x{16384}… \(3616 characters more\)$/);
    assert.ok(Number.isFinite(Date.parse(logs[0]!.time)));
  });
});

const failures: [
  string,
  Record<string, string>,
  { phase: string; message: RegExp; file?: string; line?: number; column?: number },
][] = [
  ["a syntax error", { "main.ts": "export default {\n  fetch( {" }, {
    phase: "import",
    message: /^SyntaxError: .*/,
    file: "main.ts",
    line: 2,
  }],
  ["a syntax error in an imported file", { "main.ts": `import "./lib.ts";`, "lib.ts": "let = ;" }, {
    phase: "import",
    message: /SyntaxError/,
    file: "lib.ts",
    line: 1,
  }],
  ["an error thrown while loading", { "main.ts": `\n  throw new TypeError("no luck");` }, {
    phase: "import",
    message: /TypeError: no luck/,
    file: "main.ts",
    line: 2,
    column: 9,
  }],
  ["something else thrown while loading", { "main.ts": `throw { code: 7 };` }, {
    phase: "import",
    message: /no Error was thrown: \{ code: 7 \}/,
  }],
  ["a missing file", { "main.ts": `import "./gone.ts";` }, {
    phase: "import",
    message: /gone\.ts.*\n?.*ending of the file name/s,
    file: "main.ts",
    line: 1,
  }],
  ["an unknown package", { "main.ts": `import x from "left-pad"; x;` }, {
    phase: "import",
    message: /left-pad.*package\.json/s,
    file: "main.ts",
    line: 1,
  }],
  ["a missing module", { "other.ts": "" }, { phase: "import", message: /main\.ts/ }],
  ["no default export", { "main.ts": "export const a = 1, b = 2;" }, {
    phase: "contract",
    message: /no default export \(it exports a, b\)/,
    file: "main.ts",
  }],
  ["nothing exported", { "main.ts": "" }, { phase: "contract", message: /it exports nothing/ }],
  ["a default export without fetch", { "main.ts": "export default { get: 1 };" }, {
    phase: "contract",
    message: /object with get, without a function fetch/,
  }],
  ["a default export of null", { "main.ts": "export default null;" }, {
    phase: "contract",
    message: /is null/,
  }],
  ["a top-level await that never ends", { "main.ts": "await new Promise(() => {});" }, {
    phase: "timeout",
    message: /did not finish loading in 300 ms/,
  }],
];

for (const [what, files, expected] of failures) {
  Deno.test(`the start fails with a reason and its place: ${what}`, async () => {
    await withWorker(files, async (worker) => {
      const failed = await worker.start({
        limits: { startTimeoutMs: expected.phase === "timeout" ? 300 : 60_000 },
      });
      assert.equal(failed.type, "failed");
      assert.equal(failed.phase, expected.phase);
      assert.match(failed.message, expected.message);
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(failed.message, /\x1b/);
      if (expected.file !== undefined) assert.equal(failed.file, `${worker.app}/${expected.file}`);
      if (expected.line !== undefined) assert.equal(failed.line, expected.line);
      if (expected.column !== undefined) assert.equal(failed.column, expected.column);
      assert.equal((await worker.end()).code, 3);
    });
  });
}

Deno.test("a handler that never answers gets 504 and does not hold the others", async () => {
  const main = `export default { fetch(request: Request) {
    return request.url.endsWith("/slow") ? new Promise<Response>(() => {}) : new Response("quick");
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start({ limits: { requestTimeoutMs: 100 } });
    const slow = worker.fetch("/slow");
    assert.equal(await (await worker.fetch("/")).text(), "quick");
    const answer = await slow;
    assert.equal(answer.status, 504);
    assert.equal(answer.headers.get("x-martlet-worker"), "timeout");
    await answer.json();
  });
});

Deno.test("stop lets running requests and waitUntil promises finish and refuses new ones", async () => {
  const main = `export default { async fetch(request: Request, _env: unknown, ctx: any) {
    ctx.waitUntil(new Promise<void>((resolve) => ctx.signal.addEventListener("abort", () => setTimeout(() => { console.log("after"); resolve(); }, 50))));
    console.log("in");
    await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    await new Promise((resolve) => setTimeout(resolve, 100));
    return new Response("finished");
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    const running = worker.fetch("/");
    await worker.until("the request", () => worker.logs.some((l) => l.text === "in"));
    await worker.send({ type: "stop", reason: "deploy", graceMs: 20_000 });
    assert.equal(await (await running).text(), "finished");
    assert.equal((await worker.end()).code, 0);
    assert.ok(worker.logs.some((l) => l.text === "after"));
    await assert.rejects(worker.fetch("/"));
  });
});

Deno.test("stop does not wait longer than its grace", async () => {
  const main =
    `export default { fetch: () => { console.log("in"); return new Promise<Response>(() => {}); } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    const running = worker.fetch("/").then((r) => r.body?.cancel(), () => {});
    await worker.until("the request", () => worker.logs.some((l) => l.text === "in"));
    assert.equal((await worker.stop({ graceMs: 50 })).code, 0);
    assert.ok(worker.logs.some((l) => l.source === "martlet" && /1 requests .* did not end/.test(l.text)));
    await running;
  });
});

Deno.test("a stop while the app loads ends the worker at once", async () => {
  await withWorker({ "main.ts": `console.log("loading"); await new Promise(() => {});` }, async (worker) => {
    await worker.send({
      type: "start",
      app: "a",
      version: "b",
      main: `${worker.app}/main.ts`,
      data: worker.data,
    });
    await worker.until("the import", () => worker.logs.some((l) => l.text === "loading"));
    assert.equal((await worker.stop()).code, 0);
  });
});

for (const [reason, code] of [["sleep", 1001], ["deploy", 1012], ["move", 1012]] as const) {
  Deno.test(`open WebSockets are closed with ${code} on ${reason}, and counted`, async () => {
    const main = `export default { fetch(request: Request) {
      const { socket, response } = Deno.upgradeWebSocket(new Request(request));
      socket.onmessage = (event) => socket.send("echo " + event.data);
      return response;
    } };`;
    await withWorker({ "main.ts": main }, async (worker) => {
      await worker.start();
      const { connectWebSocket } = await import("./websocket.ts");
      const socket = await connectWebSocket(worker.socket, "/");
      await socket.send("hi");
      assert.equal((await socket.next()).text, "echo hi");
      const busy = await worker.message("activity");
      assert.equal(busy.webSockets, 1);
      await worker.send({ type: "stop", reason });
      const close = await socket.next();
      assert.equal(close.code, code);
      assert.match(close.text, new RegExp(reason));
      assert.equal((await worker.end()).code, 0);
    });
  });
}

Deno.test("the host hears when work keeps the app awake, and when it ends, but not of each request", async () => {
  const main = `let release = () => {};
  export default { fetch(request: Request, _env: unknown, ctx: any) {
    if (request.url.endsWith("/hold")) ctx.waitUntil(new Promise<void>((resolve) => release = resolve));
    if (request.url.endsWith("/release")) release();
    return new Response("ok");
  } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start();
    for (let i = 0; i < 50; i++) await (await worker.fetch("/")).text();
    assert.equal(worker.messages.filter((m) => m.type === "activity").length, 0);
    await (await worker.fetch("/hold")).text();
    assert.equal((await worker.message("activity")).waitUntil, 1);
    await (await worker.fetch("/release")).text();
    const idle = await worker.until("idle", () => worker.messages.filter((m) => m.type === "activity")[1]);
    assert.deepEqual([idle.requests, idle.waitUntil, idle.webSockets], [0, 0, 0]);
  });
});

Deno.test("a promise given to waitUntil keeps the app awake for its limit only", async () => {
  const main =
    `export default { fetch(_r: Request, _e: unknown, ctx: any) { ctx.waitUntil(new Promise(() => {})); return new Response("ok"); } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start({ limits: { waitUntilMs: 600 } });
    await (await worker.fetch("/")).text();
    await worker.until("idle again", () => worker.messages.filter((m) => m.type === "activity")[1]);
    assert.ok(worker.logs.some((l) => l.text.includes("did not settle in 600 ms")));
  });
});

Deno.test("the worker ends when its host is gone", async () => {
  await withWorker({ "main.ts": hello }, async (worker) => {
    await worker.start();
    worker.hangUp();
    assert.equal((await worker.end()).code, 4);
  });
});

Deno.test("nonsense on the control connection ends the worker; unknown types do not", async () => {
  await withWorker({ "main.ts": hello }, async (worker) => {
    await worker.send({ type: "future", a: 1 });
    assert.equal((await worker.start()).type, "started");
    await worker.sendText("not json\n");
    assert.equal((await worker.end()).code, 4);
  });
});

Deno.test("an app that calls Deno.exit leaves its status and a log line", async () => {
  await withWorker({ "main.ts": `\nDeno.exit(7);` }, async (worker) => {
    await worker.send({
      type: "start",
      app: "a",
      version: "b",
      main: `${worker.app}/main.ts`,
      data: worker.data,
    });
    assert.equal((await worker.end()).code, 7);
    const line = worker.logs.find((l) => l.text.includes("Deno.exit(7)"))!;
    assert.match(line.text, /main\.ts:2/);
  });
});

Deno.test("an app that calls Deno.serve runs as it is", async () => {
  await withWorker({
    "main.ts":
      `Deno.serve({ port: 1234 }, (request) => new Response("served " + new URL(request.url).pathname));`,
  }, async (worker) => {
    assert.equal((await worker.start()).type, "started");
    assert.equal(await (await worker.fetch("/x")).text(), "served /x");
  });
});

Deno.test("user code cannot reach the control connection", async () => {
  const main = `import fs from "node:fs";
  const forged = JSON.stringify({ type: "started", ms: 0, cron: ["forged"], routes: 0 }) + "\\n";
  const found: string[] = [];
  const D = Deno as any;
  if (D[D.internal]?.core !== undefined) found.push("internals");
  try { Deno.readDirSync(Deno.env.get("RUN")!); found.push("the folder of the sockets"); } catch {}
  for (let fd = 3; fd < 64; fd++) try { fs.writeSync(fd, forged); found.push("fs " + fd); } catch {}
  try { await Deno.connect({ transport: "unix", path: Deno.env.get("RUN") + "/app.sock" }); found.push("its own socket"); } catch {}
  const own = Deno.env.get("MARTLET_DATA") + "/own.sock";
  Deno.listen({ transport: "unix", path: own });
  const probe = await Deno.connect({ transport: "unix", path: own });
  const prototype = Object.getPrototypeOf(probe);
  for (let p = prototype; p && p !== Object.prototype; p = Object.getPrototypeOf(p)) {
    for (const name of ["write", "read"]) if (Object.hasOwn(p, name)) p[name] = () => { found.push("patched " + name); return Promise.resolve(null); };
  }
  JSON.stringify = () => { found.push("stringify"); return forged; };
  export default { fetch: () => new Response(found.join()) };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    const started = await worker.start({ env: { RUN: `${worker.folder}/run` } });
    assert.deepEqual(started.cron, [], started.message);
    assert.equal(await (await worker.fetch("/")).text(), "");
    assert.equal((await worker.stop()).code, 0);
    assert.equal(worker.messages.filter((m) => m.type === "started").length, 1);
  });
});

Deno.test("what user code writes to bare file descriptors is not believed", async () => {
  const main = `import net from "node:net";
  for (let fd = 3; fd < 64; fd++) try {
    const socket = new net.Socket({ fd } as any);
    socket.on("error", () => {});
    socket.write(JSON.stringify({ type: "started", ms: 0, cron: ["forged"], routes: 0 }) + "\\n");
  } catch {}
  console.log("written");
  export default { fetch: () => new Response("ok") };`;
  // An app that writes to whatever is open may stall its own runtime before it has come to the control connection.
  let gotThrough = false;
  for (let round = 0; round < 5 && !gotThrough; round++) {
    await withWorker({ "main.ts": main }, async (worker) => {
      await worker.send({
        type: "start",
        app: "a",
        version: "b",
        main: `${worker.app}/main.ts`,
        data: worker.data,
      });
      const isWritten = () => worker.logs.some((line) => line.text === "written");
      for (let waited = 0; waited < 20_000 && !isWritten(); waited += 50) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      if (isWritten()) {
        // The forged lines arrive before the worker's own next message or its end.
        await worker.send({ type: "stop" }).catch(() => {});
        await worker.end();
      }
      gotThrough = worker.forged.some((line) => line.includes("forged"));
      assert.equal(worker.messages.some((m) => m.cron?.includes("forged")), false);
    });
  }
  assert.ok(gotThrough, "no attempt got through, so nothing was shown");
});

Deno.test("an app reads only its own files", async () => {
  const main =
    `const tried = ["/etc/passwd", Deno.env.get("OUTSIDE")!].map((path) => { try { Deno.readTextFileSync(path); return path; } catch (e) { return (e as Error).name; } });
  let imported = "no"; try { await import(Deno.env.get("OUTSIDE")!); imported = "yes"; } catch {}
  export default { fetch: () => Response.json({ tried, imported, own: Deno.readTextFileSync("./own.txt") }) };`;
  await withWorker({ "main.ts": main, "own.txt": "mine" }, async (worker) => {
    await Deno.writeTextFile(`${worker.folder}/outside.ts`, "export {}");
    await worker.start({ env: { OUTSIDE: `${worker.folder}/outside.ts` } });
    assert.deepEqual(await (await worker.fetch("/")).json(), {
      tried: ["NotCapable", "NotCapable"],
      imported: "no",
      own: "mine",
    });
  });
});

Deno.test("cron runs the app's scheduled function and reports what came of it", async () => {
  const main = `export default { fetch: () => new Response("ok"), scheduled(event: any, env: any, ctx: any) {
    console.log("slot", event.cron, event.scheduledTime, env.A); if (event.cron === "1 * * * *") throw new Error("bad slot"); } };`;
  await withWorker({ "main.ts": main }, async (worker) => {
    await worker.start({ env: { A: "b" } });
    await worker.send({ type: "cron", expr: "0 * * * *", scheduledTime: 3600000, id: "one" });
    assert.deepEqual(await worker.until("one", () => worker.messages.find((m) => m.id === "one")), {
      type: "cronDone",
      id: "one",
      ok: true,
      key: worker.key,
    });
    await worker.send({ type: "cron", expr: "1 * * * *", scheduledTime: 3600000, id: "two" });
    const two = await worker.until("two", () => worker.messages.find((m) => m.id === "two"));
    assert.deepEqual([two.ok, two.message], [false, "bad slot"]);
    assert.ok(worker.logs.some((l) => l.text === "slot 0 * * * * 3600000 b" && l.requestId === "cron-one"));
  });
});

Deno.test("wrong arguments and an unusable socket end the process with their own statuses", async () => {
  const { runtimeFolder } = await import("./fixture.ts");
  const run = async (...args: string[]) => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--allow-read",
        "--allow-write=/nonexistent",
        "--allow-env",
        "--allow-net",
        `${runtimeFolder}/harness.ts`,
        ...args,
      ],
      env: { NO_COLOR: "1" },
    }).output();
    return { code, text: new TextDecoder().decode(stderr) };
  };
  const missing = await run("--serve", "/tmp/x");
  assert.equal(missing.code, 2);
  assert.match(missing.text, /--control PATH is missing/);
  const unknown = await run("--port", "1");
  assert.match(unknown.text, /unknown argument --port/);
  const unusable = await run("--serve", "/nonexistent/a.sock", "--control", "/nonexistent/b.sock");
  assert.equal(unusable.code, 5);
  assert.match(unusable.text, /boot failed/);
});
