/**
 * What parts of the framework cost beside the same written by hand, without HTTP (`http.ts` has a request as a whole):
 *
 *     taskset -c 1 deno run --allow-all --sloppy-imports benchmarks/framework.ts
 *
 * With `MARTLET_ZOD`, a checkout of Zod's source, it is compared with the validator too.
 * Runs are interleaved, so that a busy machine slows both sides alike; the median of the ratios counts.
 */
import { serve } from "martlet";
import { RouteTree } from "../martlet/router.ts";
import type { Schema } from "../martlet/schema.ts";
import { type Fault, ValidatorCompiler } from "../martlet/validate.ts";
import { fetch as framework } from "./servers/framework.ts";
import { fetch as handWritten } from "./servers/hand.ts";

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

const text = JSON.stringify({ title: "water the plants", done: false, count: 3, kind: "a", note: "soon" });
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
await compare("A request without HTTP: route, 5-field body, JSON answer", "µs", direct, [
  ["by hand", call(handWritten)],
  ["the framework", call(framework)],
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
/** The same in Zod, or nothing without its source. */
async function zod(): Promise<[string, () => unknown][]> {
  const source = Deno.env.get("MARTLET_ZOD");
  if (source === undefined) return [];
  const { z } = await import(`file://${source}/packages/zod/src/index.ts`);
  const type = z.object({
    id: z.int().min(1),
    name: z.string().min(1).max(100),
    mail: z.string().regex(mail),
    age: z.number().min(0).max(150),
    active: z.boolean(),
    role: z.enum(["admin", "user", "guest"]),
    tags: z.array(z.string()),
    at: z.iso.datetime({ offset: true }).transform((text: string) => new Date(text)),
    note: z.string().nullable(),
    place: z.object({ x: z.number(), y: z.number() }),
  });
  return [["Zod", () => {
    for (let i = 0; i < checks; i++) if (!type.safeParse(value).success) throw new Error("refused");
  }]];
}

const checks = 100_000;
await compare("Validation and conversion of an object with 10 fields (limit 5 µs)", "µs", checks, [
  ["by hand", () => {
    for (let i = 0; i < checks; i++) if (byHand(value) === null) throw new Error("refused");
  }],
  ...await zod(),
  ["compiled from the schema", () => {
    for (let i = 0; i < checks; i++) {
      const faults: Fault[] = [];
      validate(value, "v", faults);
      if (faults.length > 0) throw new Error("refused");
    }
  }],
]);
