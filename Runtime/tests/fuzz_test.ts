import assert from "node:assert/strict";
import { everyType } from "./every_type.ts";
import { annotateApp, runtimeFolder, type TestWorker, withWorker } from "./fixture.ts";
import { join } from "./paths.ts";

/**
 * Schemathesis reads `/openapi.json` and sends what the description permits and what it forbids. An app must answer none
 * of it with 5xx, and everything as it is described.
 */
const checks = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  "negative_data_rejection",
  "positive_data_acceptance",
  "unsupported_method",
  "allow_header_conformance",
];
/** Requests of the last phase for each route. */
const most = Deno.env.get("MARTLET_SOAK") === "1" ? 1_000 : 10;

/** `without` are paths of answers that do not end, or that refuse whatever comes. */
const apps: Record<string, { sourceFolder?: string; files?: Record<string, string>; without?: string }> = {
  "the example todos": { sourceFolder: join(runtimeFolder, "../examples/todos"), without: "/events" },
  "the template api": { sourceFolder: join(runtimeFolder, "templates/api") },
  "an app with every kind of type": { files: { "main.ts": everyType }, without: "/teapot" },
};

for (const [name, { sourceFolder, files, without }] of Object.entries(apps)) {
  Deno.test(`${name} answers as it says, whatever it is asked`, async () => {
    await withWorker(files ?? {}, async (worker) => {
      const started = await worker.start({ schema: (await annotateApp(worker)).path });
      assert.equal(started.type, "started", started.message);
      await withAddress(worker, async (origin) => {
        const seed = Deno.env.get("MARTLET_SEED") ?? String(Math.floor(Math.random() * 1e9));
        const { code, stdout, stderr } = await new Deno.Command(
          join(runtimeFolder, "../.tools/test/bin/schemathesis"),
          {
            args: [
              "run",
              `${origin}/openapi.json`,
              ...["--checks", checks.join(","), "--phases", "coverage,fuzzing"],
              ...["--max-examples", String(most)],
              ...without === undefined ? [] : ["--exclude-path", without],
              ...["--seed", seed, "--request-timeout", "60", "--no-color"],
            ],
            cwd: worker.data,
            env: { NO_PROXY: "*", no_proxy: "*", HOME: worker.data },
          },
        ).output();
        const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        assert.equal(code, 0, `seed ${seed}\n${text}`);
        const sent = Number(/(\d+) generated/.exec(text)?.[1] ?? 0);
        assert.ok(sent > 50, `only ${sent} requests were made: ${text}`);
      });
    }, sourceFolder === undefined ? {} : { sourceFolder });
  });
}

/** Gives the worker's socket an address for programs that know no others. */
async function withAddress(worker: TestWorker, body: (origin: string) => Promise<void>): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const relays: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const client of listener) relays.push(relay(client, worker.socket));
  })();
  try {
    await body(`http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`);
  } finally {
    listener.close();
    await accepting.catch(() => {});
    await Promise.all(relays);
  }
}

async function relay(client: Deno.Conn, path: string): Promise<void> {
  const worker = await Deno.connect({ transport: "unix", path });
  // Either side may end first, also by a reset.
  const to = client.readable.pipeTo(worker.writable).catch(() => {});
  const back = worker.readable.pipeTo(client.writable).catch(() => {});
  await Promise.all([to, back]);
}
