import assert from "node:assert/strict";
import { type Description, generateClient } from "../client.ts";
import { everyType as main } from "./every_type.ts";
import { annotateApp, runtimeFolder, type TestWorker, withWorker } from "./fixture.ts";

async function withClient(
  body: (worker: TestWorker, description: Description, path: string) => Promise<void>,
): Promise<void> {
  await withWorker({ "main.ts": main }, async (worker) => {
    const { path: schema, warnings } = await annotateApp(worker);
    assert.deepEqual(warnings, []);
    const started = await worker.start({ schema });
    assert.equal(started.type, "started", started.message);
    const description = await (await worker.fetch("/openapi.json")).json();
    const path = `${worker.data}/client.ts`;
    await Deno.writeTextFile(path, generateClient(description));
    await body(worker, description, path);
  });
}

Deno.test("the client compiles and carries every type there and back", async () => {
  await withClient(async (worker, _description, path) => {
    const use = `${worker.data}/use.ts`;
    // Types that are wrong must not compile: the checker looks for an error at each mark.
    await Deno.writeTextFile(
      use,
      `import { Client, type Every } from "./client.ts";
export async function use(client: Client, every: Every) {
  const back: Every = await client.every({ body: every });
  const when: Date = back.when;
  const node: { value: Date } | null = await client.find({ id: 1 });
  const text: string = await client.text({ name: "x" });
  // @ts-expect-error a date is no text
  const wrong: string = back.when;
  // @ts-expect-error the name is needed
  await client.text({});
  // @ts-expect-error there is no such shape
  every.shape = { kind: "line" };
  for await (const { at } of client.ticks({ count: 1 })) at.getTime();
  return [when, node, text, wrong];
}`,
    );
    const check = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--all", "--quiet", use],
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(check.code, 0, new TextDecoder().decode(check.stderr));

    const { Client, ClientError } = await import(`file://${path}`);
    const client = new Client("http://test.localhost/", {
      fetch: (url: string, init: RequestInit) =>
        worker.fetch(new URL(url).pathname + new URL(url).search, init),
    });
    const date = new Date("2026-01-31T12:00:00.123Z");
    const every = {
      s: "ü\n",
      n: -1.5e-7,
      b: false,
      nil: null,
      big: 2n ** 90n,
      when: date,
      orNull: null,
      list: [date, date],
      tuple: ["a", date],
      rest: ["a", 1n, -2n],
      lits: 1,
      shape: { kind: "circle", radius: 1, at: date },
      shapes: [{ kind: "square", side: 5n }, { kind: "circle", radius: 0, at: date }],
      record: { a: date },
      node: { value: date, next: { value: date, next: null } },
      any: { free: [1] },
      "odd name": 1,
      mixed: [1],
      page: { items: [{ value: date }], total: 1 },
    };
    assert.deepEqual(await client.every({ body: every }), every);
    assert.deepEqual(await client.parts({ id: 7, body: { a: "x", b: date } }), {
      id: 7,
      a: "x",
      b: date,
      c: null,
    });
    assert.deepEqual(await client.query({ texts: ["a&b", "c d"], since: date, big: 5n }), {
      texts: ["a&b", "c d"],
      since: date,
      big: "5",
    });
    assert.equal(await client.text({ name: "a/b c" }), "hello a/b c");
    assert.deepEqual(await client.find({ id: 1 }), { value: new Date(0) });
    assert.equal(await client.find({ id: 2 }), null);
    assert.equal(await client.nothing(), undefined);
    const ticks: number[] = [];
    for await (const { at } of client.ticks({ count: 3 })) ticks.push(at.getTime());
    assert.deepEqual(ticks, [0, 1, 2]);
    await assert.rejects(
      client.teapot(),
      (error: any) =>
        error instanceof ClientError && error.status === 418 && error.problem.detail === "short and stout",
    );
    await assert.rejects(
      client.every({ body: { ...every, n: "1" } }),
      (error: any) => error.problem.errors[0].path === "value/n",
    );
  });
});

Deno.test("the description is valid OpenAPI 3.1 by another validator", async () => {
  const python = `${runtimeFolder}/../.tools/test/bin/python`;
  await withClient(async (worker, description) => {
    const path = `${worker.data}/openapi.json`;
    const validate = async (value: unknown) => {
      await Deno.writeTextFile(path, JSON.stringify(value));
      const { code, stdout, stderr } = await new Deno.Command(python, {
        args: ["-m", "openapi_spec_validator", path],
      }).output();
      return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
    };
    const result = await validate(description);
    assert.equal(result.code, 0, result.text);
    // The validator does look: a description that is spoiled is refused.
    assert.notEqual(
      (await validate({ ...description, paths: { "/x/{id}": { get: { responses: {} } } } })).code,
      0,
    );
  });
});
