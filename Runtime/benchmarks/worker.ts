/**
 * What a worker costs:
 *
 *     deno run --allow-all benchmarks/worker.ts
 *
 * From the hand-over of an app to its first answer, beside Deno started directly for the same app; and a
 * request through the harness, beside bare Deno.serve on the same kind of socket. Interleaved; medians.
 */
import { type TestWorker, withWorker } from "../tests/fixture.ts";

const app = `import { DatabaseSync } from "node:sqlite";
const db = new DatabaseSync(\`\${Deno.env.get("MARTLET_DATA")}/main.db\`);
db.exec("create table if not exists t (a)");
export default { fetch: (request: Request) => { db.prepare("insert into t values (?)").run(1); return new Response("hello " + request.url.length); } };`;

/** Serves the same app without a worker. */
const start =
  `import app from "./main.ts"; Deno.serve({ path: Deno.args[0]!, onListen() {} } as any, app.fetch as any);`;

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Sends requests one after the other and returns the time of each in milliseconds. */
async function ask(path: string, count: number): Promise<number> {
  const connection = await Deno.connect({ transport: "unix", path });
  const message = new TextEncoder().encode(
    "GET /a?b=c HTTP/1.1\r\nHost: a.localhost\r\nUser-Agent: bench\r\nAccept: */*\r\nx-forwarded-proto: http\r\nx-request-id: 0123456789abcdef\r\n\r\n",
  );
  const buffer = new Uint8Array(4096);
  const began = performance.now();
  for (let i = 0; i < count; i++) {
    await connection.write(message);
    await connection.read(buffer);
  }
  const time = (performance.now() - began) / count;
  connection.close();
  return time;
}

async function firstAnswer(path: string): Promise<void> {
  for (;;) {
    try {
      await ask(path, 1);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

async function direct(folder: string, measure: (path: string) => Promise<void>): Promise<void> {
  const path = `${folder}/direct-${crypto.randomUUID().slice(0, 8)}.sock`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-lock", `${folder}/app/direct.ts`, path],
    env: { MARTLET_DATA: `${folder}/data` },
  }).spawn();
  try {
    await measure(path);
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}

const pooled: number[] = [];
const cold: number[] = [];
for (let round = -1; round < 9; round++) {
  await withWorker({ "main.ts": app, "direct.ts": start }, async (worker: TestWorker) => {
    const began = performance.now();
    await worker.start();
    await ask(worker.socket, 1);
    const time = performance.now() - began;
    let coldTime = 0;
    await direct(worker.folder, async (path) => {
      const began = performance.now();
      await firstAnswer(path);
      coldTime = performance.now() - began;
    });
    if (round < 0) return;
    pooled.push(time);
    cold.push(coldTime);
  });
}
console.log("From the hand-over of an app to its first answer, with a write to SQLite");
console.log(`  Deno started directly       ${median(cold).toFixed(2).padStart(8)} ms  1.00x (baseline)`);
console.log(
  `  a worker of the pool        ${median(pooled).toFixed(2).padStart(8)} ms  ${
    median(pooled.map((time, i) => time / cold[i]!)).toFixed(2)
  }x`,
);

const bare: number[] = [];
const harness: number[] = [];
const plain = `export default { fetch: (request: Request) => new Response("hello " + request.url.length) };`;
await withWorker({ "main.ts": plain, "direct.ts": start }, async (worker) => {
  await worker.start();
  await direct(worker.folder, async (path) => {
    await firstAnswer(path);
    for (let round = -3; round < 15; round++) {
      const one = await ask(path, 1_000);
      const two = await ask(worker.socket, 1_000);
      if (round < 0) continue;
      bare.push(one);
      harness.push(two);
    }
  });
});
console.log("A request over a unix socket, one after the other");
console.log(
  `  bare Deno.serve             ${(median(bare) * 1000).toFixed(1).padStart(8)} µs  1.00x (baseline)`,
);
console.log(
  `  the harness                 ${(median(harness) * 1000).toFixed(1).padStart(8)} µs  ${
    median(harness.map((time, i) => time / bare[i]!)).toFixed(2)
  }x`,
);
