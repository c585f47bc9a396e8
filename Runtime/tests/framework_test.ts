import assert from "node:assert/strict";
import { HttpError, type RouteTable, serve } from "martlet";
import { checkCron } from "../martlet/cron.ts";
import { formatEvent } from "../martlet/respond.ts";
import { QueryReader } from "../martlet/query.ts";
import { decode, RouteTree } from "../martlet/router.ts";
import { parameterNames } from "../martlet/signature.ts";

const ask = (table: RouteTable, target: string, init?: RequestInit) =>
  Promise.resolve(serve(table).fetch(new Request(`http://app.localhost${target}`, init)));

const post = (value: unknown): RequestInit => ({
  method: "POST",
  body: JSON.stringify(value),
  headers: { "content-type": "application/json" },
});

Deno.test("a path is found alike as it is and percent-encoded, in random tables", () => {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  let state = seed;
  // mulberry32: the same numbers for the same seed.
  const random = (below: number) => {
    state = state + 0x6d2b79f5 | 0;
    let t = Math.imul(state ^ state >>> 15, 1 | state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) % below;
  };
  const words = ["a", "b", "ab", "abc", ""];
  for (let round = 0; round < 300; round++) {
    const tree = new RouteTree<string>();
    for (let i = 0; i < 1 + random(8); i++) {
      const parts = Array.from(
        { length: 1 + random(4) },
        (_, at) => random(3) === 0 ? `:p${at}` : words[random(5)]!,
      );
      if (random(5) === 0) parts.push("*rest");
      const pattern = `/${parts.join("/")}`;
      try {
        tree.add("GET", pattern, pattern);
      } catch {
        // Two of the same shape.
      }
    }
    for (let i = 0; i < 30; i++) {
      const path = `/${Array.from({ length: 1 + random(5) }, () => words[random(5)]).join("/")}`;
      const encoded = path.replace(/[ab]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
      assert.deepEqual(
        matched(tree, path),
        matched(tree, encoded),
        `${path}, seed ${seed}, round ${round}`,
      );
    }
  }
});

/** What a path is matched with, its values decoded; `null` where there is no route. */
function matched(tree: RouteTree<string>, path: string): { value: string; values: string[] } | null {
  const found = tree.find("GET", path);
  return found.kind === "found" ? { value: found.value, values: found.values.map(decode) } : null;
}

Deno.test("a query is read as URLSearchParams reads it", () => {
  const queries = [
    "",
    "a",
    "a=",
    "a=1",
    "b=2&a=1",
    "aa=1&a=2",
    "a=1&a=2",
    "a&a=1",
    "&&a=3",
    "a=1=2",
    "a=%20b",
    "a=1+2",
    "=1&a=4",
    "b&a",
    "A=1",
  ];
  for (const query of queries) {
    const expected = new URLSearchParams(query);
    for (const name of ["a", "aa", "b"]) {
      assert.equal(new QueryReader(query).get(name), expected.get(name) ?? undefined, `${name} of ${query}`);
      assert.deepEqual(new QueryReader(query).getAll(name), expected.getAll(name), `${name} of ${query}`);
    }
  }
});

Deno.test("fixed segments come before parameters, these before the rest, and dead ends are left again", () => {
  const tree = new RouteTree<string>();
  for (
    const path of ["/", "/a", "/a/:id", "/a/new", "/a/:id/x", "/a/new/y", "/files/*path", "/:any/z", "/*all"]
  ) tree.add("GET", path, path);
  const cases: [string, string, Record<string, string>][] = [
    ["/", "/", {}],
    ["/a", "/a", {}],
    ["/a/new", "/a/new", {}],
    ["/a/7", "/a/:id", { id: "7" }],
    ["/a/new/x", "/a/:id/x", { id: "new" }],
    ["/a/new/y", "/a/new/y", {}],
    ["/a/z", "/a/:id", { id: "z" }],
    ["/b/z", "/:any/z", { any: "b" }],
    ["/files/a/b%20c", "/files/*path", { path: "a/b c" }],
    ["/files/", "/files/*path", { path: "" }],
    ["/x/y/w", "/*all", { all: "x/y/w" }],
    ["/a/", "/*all", { all: "a/" }],
    ["/a/k%2Fb", "/a/:id", { id: "k/b" }],
    ["/%61/7", "/a/:id", { id: "7" }],
  ];
  for (const [path, value, params] of cases) {
    const found = matched(tree, path);
    assert.equal(found?.value, value, path);
    const names = [...value.matchAll(/[:*](\w+)/g)].map(([, name]) => name!);
    assert.deepEqual(Object.fromEntries(names.map((name, i) => [name, found!.values[i]])), params, path);
  }
});

Deno.test("the tree agrees with a list of patterns that is searched from the front", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  let state = seed;
  const random = (below: number) => (state = (state * 1103515245 + 12345) & 0x7fffffff) % below;
  const words = ["a", "b", "c"];
  for (let round = 0; round < 200; round++) {
    const tree = new RouteTree<string>();
    const patterns: string[] = [];
    for (let i = 0; i < 12; i++) {
      const parts = Array.from(
        { length: 1 + random(4) },
        (_, depth) => random(3) === 0 ? `:p${depth}` : words[random(3)]!,
      );
      const pattern = `/${parts.join("/")}`;
      if (patterns.includes(pattern)) continue;
      try {
        tree.add("GET", pattern, pattern);
        patterns.push(pattern);
      } catch { /* The same shape with other names. */ }
    }
    // Fixed before parameter, decided at the first segment that differs.
    const rank = (pattern: string) =>
      pattern.split("/").map((part) => part.startsWith(":") ? "1" : "0").join("");
    const sorted = patterns.toSorted((a, b) => rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0);
    for (let i = 0; i < 30; i++) {
      const path = `/${Array.from({ length: 1 + random(4) }, () => words[random(3)]!).join("/")}`;
      const expected = sorted.find((pattern) =>
        new RegExp(`^${pattern.replace(/:\w+/g, "[^/]+")}$`).test(path)
      );
      const found = tree.find("GET", path);
      assert.equal(
        found.kind === "found" ? found.value : undefined,
        expected,
        `seed ${seed}: ${path} in ${sorted.join(" ")}`,
      );
    }
  }
});

const badTables: [string, RouteTable, RegExp][] = [
  ["no method", { "todos": () => 1 }, /a method and a path are needed/],
  ["an unknown method", { "FETCH /": () => 1 }, /methods are GET/],
  ["a path without /", { "GET todos": () => 1 }, /starts with \//],
  ["a parameter without a name", { "GET /:": () => 1 }, /needs a name/],
  ["a name twice", { "GET /:a/:a": () => 1 }, /there twice/],
  ["a rest that is not last", { "GET /*a/b": () => 1 }, /last segment/],
  ["the same route twice", { "GET /a": () => 1, "GET  /a": () => 2 }, /two routes/],
  ["one shape with two names", { "GET /:a": () => 1, "POST /:b": () => 2 }, /same names/],
  ["no function", { "GET /": undefined as any }, /spelled right/],
  ["a path without a method", { "/a": (() => 1) as any }, /nested table is needed/],
  ["a bad cron expression", { "CRON 61 * * * *": () => 1 }, /61 is no minute/],
  ["a short cron expression", { "CRON 4 * * *": () => 1 }, /five fields/],
];
for (const [what, table, message] of badTables) {
  Deno.test(`a table is refused: ${what}`, () => assert.throws(() => serve(table), message));
}

Deno.test("cron fields know ranges, lists and steps", () => {
  for (const good of ["* * * * *", "0 4 * * *", "*/5 0-6,12 1,15 1-12/2 7", "59 23 31 12 0"]) checkCron(good);
  for (
    const bad of [
      "60 * * * *",
      "* 24 * * *",
      "* * 0 * *",
      "* * * 13 *",
      "* * * * 8",
      "5-1 * * * *",
      "*/0 * * * *",
      "a * * * *",
      "@daily",
    ]
  ) {
    assert.throws(() => checkCron(bad), TypeError, bad);
  }
});

Deno.test("HEAD and OPTIONS are answered, and a wrong method gets 405 with Allow", async () => {
  const table = { "GET /a": () => ({ a: 1 }), "DELETE /a": () => {}, "WS /live": () => {} };
  const head = await ask(table, "/a", { method: "HEAD" });
  assert.deepEqual([head.status, head.headers.get("content-type"), await head.text()], [
    200,
    "application/json",
    "",
  ]);
  const options = await ask(table, "/a", { method: "OPTIONS" });
  assert.deepEqual([options.status, options.headers.get("allow")], [204, "DELETE, GET, HEAD, OPTIONS"]);
  const wrong = await ask(table, "/a", { method: "PUT" });
  assert.deepEqual([wrong.status, wrong.headers.get("allow")], [405, "DELETE, GET, HEAD, OPTIONS"]);
  assert.equal((await ask(table, "/live")).status, 426);
  assert.equal((await ask(table, "/b")).status, 404);
  assert.equal((await ask(table, "/%zz")).status, 400);
  assert.equal((await ask({ "GET /:id": (id: string) => id }, "/%zz")).status, 400);
});

Deno.test("what a handler returns decides the answer", async () => {
  const returned: [unknown, number, string | null, string][] = [
    [{ a: [1, null] }, 200, "application/json", '{"a":[1,null]}'],
    [[], 200, "application/json", "[]"],
    [7, 200, "application/json", "7"],
    [false, 200, "application/json", "false"],
    ["text", 200, "text/plain;charset=UTF-8", "text"],
    [undefined, 204, null, ""],
    [null, 200, "application/json", "null"],
    [{ big: 2n ** 70n }, 200, "application/json", '{"big":"1180591620717411303424"}'],
    [new Uint8Array([104, 105]), 200, "application/octet-stream", "hi"],
    [new Response("own", { status: 418 }), 418, "text/plain;charset=UTF-8", "own"],
    [Promise.resolve({ later: true }), 200, "application/json", '{"later":true}'],
  ];
  for (const [value, status, type, text] of returned) {
    const answer = await ask({ "GET /": () => value }, "/");
    assert.deepEqual([answer.status, answer.headers.get("content-type"), await answer.text()], [
      status,
      type,
      text,
    ]);
  }
});

Deno.test("HttpError becomes a problem document; other errors are thrown on for the worker", async () => {
  const answer = await ask({
    "GET /": () => {
      throw new HttpError(409, "taken", { details: { name: "x" }, headers: { "retry-after": "3" } });
    },
  }, "/");
  assert.equal(answer.headers.get("retry-after"), "3");
  assert.deepEqual(await answer.json(), { title: "Conflict", status: 409, detail: "taken", name: "x" });
  await assert.rejects(
    async () => await ask({ "GET /": () => Promise.reject(new Error("inner")) }, "/"),
    /inner/,
  );
  assert.throws(() => new HttpError(200), RangeError);
});

Deno.test("handlers without types get text and JSON by the names of their parameters", async () => {
  const table: RouteTable = {
    "GET /:id/x": (id: any, q: any, request: any, ctx: any) => ({
      id,
      q,
      method: request.method,
      hasContext: typeof ctx.waitUntil,
    }),
    "POST /one": (body: any) => ({ body }),
    "POST /two/:id": (id: any, a: any, b = "standard") => ({ id, a, b }),
    "GET /spread": ({ a }: any = {}) => ({ a }),
  };
  assert.deepEqual(await (await ask(table, "/7/x?q=z")).json(), {
    id: "7",
    q: "z",
    method: "GET",
    hasContext: "function",
  });
  assert.deepEqual(await (await ask(table, "/one", post([1]))).json(), { body: [1] });
  assert.deepEqual(await (await ask(table, "/two/3", post({ a: 1 }))).json(), {
    id: "3",
    a: 1,
    b: "standard",
  });
  const form = await ask(table, "/two/3", { method: "POST", body: new URLSearchParams({ a: "x", b: "y" }) });
  assert.deepEqual(await form.json(), { id: "3", a: "x", b: "y" });
  assert.deepEqual(await (await ask(table, "/spread")).json(), {});
  assert.equal(
    (await ask(table, "/one", { method: "POST", body: "<a/>", headers: { "content-type": "text/xml" } }))
      .status,
    415,
  );
  assert.equal((await ask(table, "/one", { ...post(1), body: "{" })).status, 400);
});

Deno.test("a body over the limit is refused, with and without a length", async () => {
  const app = serve({ "POST /": (body: any) => ({ length: body.length }) }, { maxBodyBytes: 100 });
  const send = (init: RequestInit) =>
    Promise.resolve(app.fetch(new Request("http://a/", { method: "POST", ...init })));
  assert.equal((await send({ body: JSON.stringify("x".repeat(50)) })).status, 415);
  const headers = { "content-type": "application/json" };
  assert.equal((await send({ headers, body: JSON.stringify("x".repeat(50)) })).status, 200);
  assert.equal((await send({ headers, body: JSON.stringify("x".repeat(200)) })).status, 413);
  assert.equal((await send({ headers: { ...headers, "content-length": "500" }, body: "1" })).status, 413);
});

Deno.test("middleware runs around handlers, outermost first, nested tables under their prefix", async () => {
  const order: string[] = [];
  const note = (name: string) => async (_request: Request, next: () => Promise<Response>) => {
    order.push(name);
    const answer = await next();
    order.push(`/${name}`);
    return answer;
  };
  const app = serve({
    "/api": { "GET /": () => "root", "/v1": { "GET /x/:id": [note("inner"), (id: string) => id] } },
    "GET /denied": [() => new Response("no", { status: 403 }), () => assert.fail("not reached")],
    "GET /thrown": [note("around"), () => {
      throw new HttpError(402);
    }],
  }, { use: [note("outer")] });
  const get = async (path: string) => await app.fetch(new Request(`http://a${path}`));
  assert.equal(await (await get("/api/v1/x/7")).text(), "7");
  assert.deepEqual(order, ["outer", "inner", "/inner", "/outer"]);
  assert.equal(await (await get("/api")).text(), "root");
  assert.equal((await get("/denied")).status, 403);
  assert.equal((await get("/thrown")).status, 402);
});

Deno.test("an event's fields cannot smuggle in others", () => {
  assert.equal(formatEvent({ a: 1 }), 'data: {"a":1}\n\n');
  assert.equal(
    formatEvent({ data: "x\ny", event: "e\ndata: 1", id: 3 }),
    'id: 3\nevent: e data: 1\ndata: "x\\ny"\n\n',
  );
  assert.equal(formatEvent(undefined), "data: null\n\n");
});

Deno.test("an async iterable is sent as events and is ended when the client goes", async () => {
  let ended = false;
  async function* count() {
    try {
      for (let i = 0;; i++) yield i;
    } finally {
      ended = true;
    }
  }
  const answer = await ask({ "SSE /": count }, "/");
  assert.equal(answer.headers.get("content-type"), "text/event-stream");
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("data: 2")) text += (await reader.read()).value;
  await reader.cancel();
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(ended, true);
});

Deno.test("parameter names are read from any form of function", () => {
  const cases: [(...args: any[]) => unknown, (string | null)[]][] = [
    [(a: any) => a, ["a"]],
    [async (a: any, b = "),("): Promise<any> => await [a, b], ["a", "b"]],
    [function (a: any, { b }: any, ...c: any[]) {
      return [a, b, c];
    }, ["a", null, "c"]],
    [function named(a = (1 + 2) * 3, b = [1, 2]) {
      return [a, b];
    }, ["a", "b"]],
    [
      ({
        method(a: any, /* , x */ b: any) {
          return [a, b];
        },
      }).method,
      ["a", "b"],
    ],
    [() => 1, []],
  ];
  for (const [handler, names] of cases) assert.deepEqual(parameterNames(handler), names, handler.toString());
});
