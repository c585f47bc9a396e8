/**
 * What the framework costs beside the same written by hand:
 *
 *     deno run --allow-all benchmarks/framework.ts
 *
 * Runs are interleaved, so that a busy machine slows both sides alike; the median of the ratios counts.
 */
import { serve } from "martlet";
import { appHooks } from "../martlet/internal/hooks.ts";
import { RouteTree } from "../martlet/router.ts";
import type { HandlerSchema, Schema } from "../martlet/schema.ts";
import { type Fault, ValidatorCompiler } from "../martlet/validate.ts";

const rounds = 15;

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Times the sides in turn and prints the median time of each and of their ratio to the first. */
async function compare(
  title: string,
  unit: string,
  count: number,
  sides: [string, () => unknown][],
  limit?: number,
): Promise<void> {
  const times = sides.map(() => [] as number[]);
  for (let round = -4; round < rounds; round++) {
    for (const [i, [, run]] of sides.entries()) {
      const began = performance.now();
      await run();
      if (round >= 0) times[i]!.push((performance.now() - began) * 1000 / count);
    }
  }
  console.log(`\n${title}`);
  for (const [i, [name]] of sides.entries()) {
    const ratio = median(times[i]!.map((time, round) => time / times[0]![round]!));
    const verdict = i === sides.length - 1 && limit !== undefined ? `  (limit ${limit})` : "";
    console.log(
      `  ${name.padEnd(34)} ${median(times[i]!).toFixed(3).padStart(9)} ${unit}  ${ratio.toFixed(2)}x${
        i === 0 ? " (baseline)" : verdict
      }`,
    );
  }
}

// MARK: A whole request

function add(
  todo: { title: string; done: boolean; count: number; kind: string; note: string },
  id: number,
): unknown {
  return { id, ...todo };
}
const body: Schema = {
  type: "object",
  properties: {
    title: { type: "string", minLength: 1 },
    done: { type: "boolean" },
    count: { type: "integer", minimum: 0 },
    kind: { type: "string", enum: ["a", "b"] },
    note: { type: "string" },
  },
  required: ["title", "done", "count", "kind", "note"],
};
const handler: HandlerSchema = {
  name: "add",
  module: "main.ts",
  parameters: [{ name: "todo", required: true, schema: body }, {
    name: "id",
    required: true,
    schema: { type: "integer" },
  }],
  returns: {
    schema: { type: "object" },
    isNullable: false,
    isVoid: false,
    isResponse: false,
    isStream: false,
  },
};
const app = serve({ "POST /lists/:id/todos": add, "GET /lists/:id": () => null, "GET /": () => null });
appHooks(app)!.useSchema({ version: 1, handlers: [handler], definitions: {}, warnings: [] });

async function handWritten(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const match = /^\/lists\/([^/]+)\/todos$/.exec(pathname);
  if (match === null) return new Response("not found", { status: 404 });
  if (request.method !== "POST") return new Response("no", { status: 405 });
  const id = Number(match[1]);
  if (!Number.isInteger(id)) return Response.json({ error: "id" }, { status: 400 });
  let todo: any;
  try {
    todo = await request.json();
  } catch {
    return Response.json({ error: "body" }, { status: 400 });
  }
  const isGood = typeof todo === "object" && todo !== null && typeof todo.title === "string" &&
    todo.title.length > 0 &&
    typeof todo.done === "boolean" && Number.isInteger(todo.count) && todo.count >= 0 &&
    (todo.kind === "a" || todo.kind === "b") && typeof todo.note === "string";
  if (!isGood) return Response.json({ error: "body" }, { status: 400 });
  const { title, done, count, kind, note } = todo;
  return Response.json({ id, title, done, count, kind, note });
}

const text = JSON.stringify({ title: "water the plants", done: false, count: 3, kind: "a", note: "soon" });
const message = new TextEncoder().encode(
  `POST /lists/7/todos HTTP/1.1\r\nHost: a.localhost\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
);
const servers = [handWritten, (request: Request) => app.fetch(request)].map((handler) =>
  Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, handler)
);
const requests = 2_000;
const load = (port: number) => async () => {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const buffer = new Uint8Array(4096);
  for (let i = 0; i < requests; i++) {
    await connection.write(message);
    const count = await connection.read(buffer);
    if (buffer[9] !== 50) throw new Error(new TextDecoder().decode(buffer.subarray(0, count ?? 0)));
  }
  connection.close();
};
await compare(
  "A request over HTTP: route, 5-field body, JSON answer; client and server in one process",
  "µs",
  requests,
  [
    ["by hand in bare Deno.serve", load(servers[0]!.addr.port)],
    ["the framework", load(servers[1]!.addr.port)],
  ],
  1.15,
);
await Promise.all(servers.map((server) => server.shutdown()));
const direct = 5_000;
const headers = { "content-type": "application/json", "content-length": String(text.length) };
const call = (handler: (request: Request) => Response | Promise<Response>) => async () => {
  for (let i = 0; i < direct; i++) {
    await handler(
      new Request("http://a.localhost/lists/7/todos", {
        method: "POST",
        body: text,
        headers,
      }),
    );
  }
};
await compare("The same without HTTP: Request in, Response out", "µs", direct, [
  ["by hand", call(handWritten)],
  ["the framework", call((request) => app.fetch(request))],
]);

// MARK: Routing

function treeOf(count: number): { tree: RouteTree<number>; paths: string[] } {
  const tree = new RouteTree<number>();
  const paths: string[] = [];
  for (let i = 0; i < count; i++) tree.add("GET", `/r${i}/items/:id/parts`, i);
  // As many different paths for every table: what text costs on the way through the caches is the same.
  for (let i = 0; i < 1_000; i++) paths.push(`/r${i % count}/items/${i}/parts`);
  return { tree, paths };
}
const few = treeOf(10);
const many = treeOf(1_000);
const lookups = 200_000;
const find = ({ tree, paths }: ReturnType<typeof treeOf>) => () => {
  for (let i = 0; i < lookups; i++) tree.find("GET", paths[(i * 7) % paths.length]!);
};
await compare("Routing: one lookup with a parameter, random routes of the table", "µs", lookups, [
  ["10 routes", find(few)],
  ["1,000 routes", find(many)],
], 1.2);

const tableOf = (count: number) =>
  serve(
    Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`GET /r${i}/items/:id/parts`, (id: string) => id]),
    ),
  );
const apps = [tableOf(10), tableOf(1_000)];
const calls = 20_000;
const ask = (app: ReturnType<typeof serve>, { paths }: ReturnType<typeof treeOf>) => async () => {
  for (let i = 0; i < calls; i++) {
    await app.fetch(new Request(`http://a.localhost${paths[(i * 7) % paths.length]}`));
  }
};
await compare("Routing: a whole request without HTTP", "µs", calls, [
  ["10 routes", ask(apps[0]!, few)],
  ["1,000 routes", ask(apps[1]!, many)],
], 1.2);

// MARK: Validation

const schema: Schema = {
  type: "object",
  properties: {
    id: { type: "integer", minimum: 1 },
    name: { type: "string", minLength: 1, maxLength: 100 },
    mail: { type: "string", format: "email" },
    age: { type: "number", minimum: 0, maximum: 150 },
    active: { type: "boolean" },
    role: { type: "string", enum: ["admin", "user", "guest"] },
    tags: { type: "array", items: { type: "string" } },
    at: { type: "string", format: "date-time", "x-martlet-type": "Date" },
    note: { anyOf: [{ type: "string" }, { type: "null" }] },
    place: {
      type: "object",
      properties: { x: { type: "number" }, y: { type: "number" } },
      required: ["x", "y"],
    },
  },
  required: ["id", "name", "mail", "age", "active", "role", "tags", "at", "note", "place"],
};
const value = {
  id: 7,
  name: "Ada Lovelace",
  mail: "ada@example.org",
  age: 36,
  active: true,
  role: "admin",
  tags: ["a", "b"],
  at: "2026-01-31T12:00:00Z",
  note: null,
  place: { x: 1, y: 2 },
};
const validate = new ValidatorCompiler({}).compile(schema);
const mail = /^[^\s@]+@[^\s@.]+(?:\.[^\s@.]+)*$/;

function byHand(v: any): unknown {
  if (typeof v !== "object" || v === null || Array.isArray(v)) return null;
  if (!Number.isInteger(v.id) || v.id < 1) return null;
  if (typeof v.name !== "string" || v.name.length < 1 || v.name.length > 100) return null;
  if (typeof v.mail !== "string" || !mail.test(v.mail)) return null;
  if (typeof v.age !== "number" || !(v.age >= 0 && v.age <= 150)) return null;
  if (typeof v.active !== "boolean") return null;
  if (v.role !== "admin" && v.role !== "user" && v.role !== "guest") return null;
  if (!Array.isArray(v.tags) || !v.tags.every((tag: unknown) => typeof tag === "string")) return null;
  if (typeof v.at !== "string") return null;
  const at = new Date(v.at);
  if (Number.isNaN(at.getTime())) return null;
  if (v.note !== null && typeof v.note !== "string") return null;
  if (
    typeof v.place !== "object" || v.place === null || typeof v.place.x !== "number" ||
    typeof v.place.y !== "number"
  ) return null;
  const { id, name, age, active, role, tags, note, place } = v;
  return {
    id,
    name,
    mail: v.mail,
    age,
    active,
    role,
    tags: [...tags],
    at,
    note,
    place: { x: place.x, y: place.y },
  };
}
const checks = 100_000;
await compare("Validation and conversion of an object with 10 fields (limit 5 µs)", "µs", checks, [
  ["by hand", () => {
    for (let i = 0; i < checks; i++) if (byHand(value) === null) throw new Error("refused");
  }],
  ["compiled from the schema", () => {
    for (let i = 0; i < checks; i++) {
      const faults: Fault[] = [];
      validate(value, "v", faults);
      if (faults.length > 0) throw new Error("refused");
    }
  }],
]);
