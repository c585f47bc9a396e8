import assert from "node:assert/strict";
import { type Fault, ValidatorCompiler } from "../martlet/validate.ts";
import { annotateApp, withWorker } from "./fixture.ts";

/** Every kind of type that a handler may be written with. */
const types = `
import type { Imported as Renamed } from "./lib/models.ts";
import * as models from "./lib/models.ts";
export { };
/** Colours. */
export enum Color { Red = "red", Blue = "blue" }
export enum Level { Low, Mid = 5, High }
export interface Base { id: number }
export interface Tree extends Base { children: Tree[]; parent?: Tree | null }
export interface Page<T, Extra = { total: number }> { items: T[]; extra: Extra }
export type Shape = { kind: "circle"; radius: number } | { kind: "square" | "rectangle"; side: number };
export type Loop = Loop[] | string;
export class Instance { a = 1; }
export type Getters = { get(): string };
export interface Limits {
  /** @minLength 2 @maxLength 3 */ text: string;
  /**
   * How many.
   * @minimum 1
   * @maximum 9
   * @integer
   */
  count: number;
  /** @pattern ^[a-z]+$ */ word: string;
  /** @format email */ mail: string;
  /** @minItems 1 @uniqueItems */ list: string[];
  /** @default 7 */ standard?: number;
}
export interface All {
  s: string; n: number; b: boolean; nil: null; big: bigint; date: Date; any: any; unknown: unknown;
  lit: "x"; lits: "a" | 1 | true; color: Color; level: Level; arr: number[]; arr2: Array<string>; ro: readonly string[];
  tuple: [string, number?]; rest: [string, ...number[]]; nested: { deep: { x: number } }; opt?: string; orNull: string | null; orUndefined: string | undefined;
  record: Record<string, number>; keyed: Record<"l" | "r", boolean>; partial: Partial<Base>; required: Required<{ q?: string }>; pick: Pick<All, "s" | "n">; omit: Omit<Base & { z: string }, "id">;
  inter: Base & { more: string }; page: Page<Base>; page2: Page<string, null>; keys: keyof Base; indexed: Base["id"]; mapped: { [K in "m1" | "m2"]?: K }; template: \`v\${number}\`;
  index: { [name: string]: number; }; renamed: Renamed; star: models.Other; reexported: models.Deep; nonNull: NonNullable<string | null>; excluded: Exclude<"a" | "b" | "c", "b">; shape: Shape; loop: Loop; tree: Tree;
}
export function all(value: All): All { return value; }
export function limits(value: Limits): void {}
export function shape(value: Shape): void {}
export function loop(value: Loop): void {}
export function tree(value: Tree): void {}
export function instance(value: Instance): void {}
export function getters(value: Getters): void {}
export function conditional<T>(value: T extends string ? 1 : 2): void {}
export function functions(value: { f: () => void; ok: number }): void {}
export function map(value: Map<string, string>, text: string): void {}
export function symbol(value: symbol): void {}
export function pages(value: Page<Page<Tree>>): void {}
export function specials(request: Request, headers: Headers, n: number): Response { return new Response(); }
`;
const models = `
import type { Deep } from "./deep.ts";
export interface Imported { text: string; deep: Deep }
export type Other = { other: boolean };
export type { Deep } from "./deep.ts";
`;
const files = {
  "main.ts": types,
  "lib/models.ts": models,
  "lib/deep.ts": "export interface Deep { depth: number; again?: Deep }",
};

async function annotated(
  body: (
    check: (name: string, value: unknown, isText?: boolean) => { value: any; faults: Fault[] },
    made: Awaited<ReturnType<typeof annotateApp>>,
  ) => void,
) {
  await withWorker(files, async (worker) => {
    const made = await annotateApp(worker);
    const compiler = new ValidatorCompiler(made.schema.definitions);
    body((name, value, isText) => {
      const handler = made.schema.handlers.find((handler: any) => handler.name === name);
      const faults: Fault[] = [];
      return { value: compiler.compile(handler.parameters[0].schema, isText)(value, "", faults), faults };
    }, made);
  });
}

const good = () => ({
  s: "s",
  n: 1.5,
  b: true,
  nil: null,
  big: "12345678901234567890",
  date: "2026-01-31T12:00:00Z",
  any: [1],
  unknown: { a: 1 },
  lit: "x",
  lits: 1,
  color: "blue",
  level: 6,
  arr: [1],
  arr2: ["a"],
  ro: ["a"],
  tuple: ["a"],
  rest: ["a", 1, 2],
  nested: { deep: { x: 1 } },
  orNull: null,
  record: { a: 1, __proto__x: 2 },
  keyed: { l: true, r: false },
  partial: {},
  required: { q: "q" },
  pick: { s: "s", n: 1 },
  omit: { z: "z" },
  inter: { id: 1, more: "m" },
  page: { items: [{ id: 1 }], extra: { total: 1 } },
  page2: { items: ["a"], extra: null },
  keys: "id",
  indexed: 3,
  mapped: { m1: "m1" },
  template: "v1.5",
  index: { a: 1 },
  renamed: { text: "t", deep: { depth: 1, again: { depth: 2 } } },
  star: { other: true },
  reexported: { depth: 1 },
  nonNull: "n",
  excluded: "c",
  shape: { kind: "circle", radius: 1 },
  loop: [["a"], "b"],
  tree: { id: 1, children: [{ id: 2, children: [], parent: null }] },
});

Deno.test("a value of every kind of type is taken and converted", async () => {
  await annotated((check, { warnings }) => {
    const { value, faults } = check("all", good());
    assert.deepEqual(faults, []);
    assert.equal(value.big, 12345678901234567890n);
    assert.ok(value.date instanceof Date);
    assert.deepEqual(value.tree, good().tree);
    assert.deepEqual(warnings.filter(({ where }) => where.startsWith("all(")), []);
  });
});

const bad: [string, (value: any) => void, string][] = [
  ["a missing field", (v) => delete v.s, "/s"],
  ["a number as text", (v) => v.n = "1", "/n"],
  ["text for a boolean", (v) => v.b = "true", "/b"],
  ["something for null", (v) => v.nil = 0, "/nil"],
  ["a fraction for a bigint", (v) => v.big = 1.5, "/big"],
  ["a day that does not exist", (v) => v.date = "2026-02-30", "/date"],
  ["a number for a date", (v) => v.date = 5, "/date"],
  ["another literal", (v) => v.lit = "y", "/lit"],
  ["a value beside a mixed union", (v) => v.lits = "1", "/lits"],
  ["a name of an enum for its value", (v) => v.color = "Red", "/color"],
  ["a number beside an enum", (v) => v.level = 1, "/level"],
  ["a wrong item", (v) => v.arr = [1, "2"], "/arr/1"],
  ["an object for an array", (v) => v.arr = { 0: 1, length: 1 }, "/arr"],
  ["a tuple that is too long", (v) => v.tuple = ["a", 1, 2], "/tuple"],
  ["an empty tuple", (v) => v.tuple = [], "/tuple"],
  ["a wrong rest", (v) => v.rest = ["a", "b"], "/rest/1"],
  ["a field deep inside", (v) => v.nested.deep.x = null, "/nested/deep/x"],
  ["a wrong value of a record", (v) => v.record.a = "1", "/record/a"],
  ["a missing key of a record", (v) => delete v.keyed.r, "/keyed/r"],
  ["a required field that was optional", (v) => v.required = {}, "/required/q"],
  ["a part of an intersection", (v) => delete v.inter.more, "/inter/more"],
  ["a wrong argument of a generic", (v) => v.page.items[0].id = "1", "/page/items/0/id"],
  ["no key of the type", (v) => v.keys = "name", "/keys"],
  ["a mapped value", (v) => v.mapped.m1 = "m2", "/mapped/m1"],
  ["text that is not as the template", (v) => v.template = "v", "/template"],
  ["an imported type", (v) => v.renamed.deep.depth = "1", "/renamed/deep/depth"],
  ["a type through a namespace", (v) => v.star.other = 1, "/star/other"],
  ["an exported type of another file", (v) => v.reexported = {}, "/reexported/depth"],
  ["what was excluded", (v) => v.excluded = "b", "/excluded"],
  ["an unknown tag", (v) => v.shape.kind = "line", "/shape/kind"],
  ["the field of another tag", (v) => v.shape = { kind: "square", radius: 1 }, "/shape/side"],
  [
    "a type in itself",
    (v) => v.tree.children[0].children = [{ id: "x", children: [] }],
    "/tree/children/0/children/0/id",
  ],
];

Deno.test("a value that is not as its type says is refused at its place", async () => {
  await annotated((check) => {
    for (const [what, spoil, path] of bad) {
      const value = good();
      spoil(value);
      const { faults } = check("all", value);
      if (path === "") assert.deepEqual(faults, [], what);
      else assert.deepEqual(faults.map(({ path }) => path), [path], `${what}: ${JSON.stringify(faults)}`);
    }
    for (const whole of [null, [], "x", 1, undefined]) assert.equal(check("all", whole).faults.length, 1);
  });
});

Deno.test("comments limit values and give defaults", async () => {
  await annotated((check) => {
    const fine = { text: "ab", count: 3, word: "abc", mail: "a@b.c", list: ["x"] };
    assert.deepEqual(check("limits", fine), { value: { ...fine, standard: 7 }, faults: [] });
    const wrong: [Record<string, unknown>, string][] = [
      [{ text: "a" }, "/text"],
      [{ text: "abcd" }, "/text"],
      [{ text: "😀😀😀😀" }, "/text"],
      [{ count: 0 }, "/count"],
      [{ count: 10 }, "/count"],
      [{ count: 1.5 }, "/count"],
      [{ word: "A" }, "/word"],
      [{ mail: "nobody" }, "/mail"],
      [{ list: [] }, "/list"],
      [{ list: ["a", "a"] }, "/list"],
    ];
    for (const [change, path] of wrong) {
      assert.deepEqual(
        check("limits", { ...fine, ...change }).faults.map((fault) => fault.path),
        [path],
        JSON.stringify(change),
      );
    }
    assert.deepEqual(check("limits", { ...fine, text: "😀😀😀" }).faults, [], "lengths are in characters");
  });
});

Deno.test("what cannot be expressed is named and passed through, never guessed", async () => {
  await annotated((check, { warnings, schema }) => {
    const places = warnings.map(({ where }) => where);
    for (
      const place of [
        "instance(value)",
        "getters(Getters)",
        "functions(value.f)",
        "map(value)",
        "symbol(value)",
        "conditional",
      ]
    ) {
      assert.ok(places.includes(place), `${place} is not in ${places.join(" · ")}`);
    }
    assert.deepEqual(check("instance", { whatever: 1 }).faults, []);
    assert.deepEqual(check("functions", { ok: 1, f: 2 }).faults, []);
    assert.deepEqual(check("functions", { ok: "1" }).faults.map(({ path }) => path), ["/ok"]);
    assert.equal(schema.handlers.some((handler: any) => handler.name === "conditional"), false);
    const specials = schema.handlers.find((handler: any) => handler.name === "specials");
    assert.deepEqual(specials.parameters.map((p: any) => p.special), ["Request", "Headers", undefined]);
  });
});

Deno.test("unions of objects are told apart by their literal property", async () => {
  await annotated((check, { schema }) => {
    assert.equal(schema.definitions.Shape.discriminator.propertyName, "kind");
    assert.deepEqual(check("shape", { kind: "rectangle", side: 1, radius: 2 }).value, {
      kind: "rectangle",
      side: 1,
    });
    assert.deepEqual(check("shape", { kind: "circle" }).faults.map(({ path }) => path), ["/radius"]);
    assert.deepEqual(check("loop", [[[["x"]]], 1]).faults.length, 1);
  });
});

Deno.test("text of a path or query is converted, and only what is meant", async () => {
  await annotated((_check, { schema }) => {
    const compiler = new ValidatorCompiler(schema.definitions);
    const text = (schema: any, value: unknown) => {
      const faults: Fault[] = [];
      const made = compiler.compile(schema, true)(value, "x", faults);
      return faults.length > 0 ? "fault" : made;
    };
    for (
      const [value, expected] of [
        ["5", 5],
        ["-1.5e3", -1500],
        ["", "fault"],
        [" 1", "fault"],
        ["0x10", "fault"],
        ["NaN", "fault"],
        ["Infinity", "fault"],
        ["1e999", "fault"],
      ]
    ) {
      assert.equal(text({ type: "number" }, value), expected, String(value));
    }
    for (const [value, expected] of [["true", true], ["0", false], ["yes", "fault"], ["", true]]) {
      assert.equal(text({ type: "boolean" }, value), expected);
    }
    assert.deepEqual(text({ type: "array", items: { type: "number" } }, "[1,2]"), [1, 2]);
    assert.deepEqual(text({ type: "array", items: { type: "number" } }, ["1", "2"]), [1, 2]);
    assert.equal(text({ enum: [1, 2] }, "2"), 2);
  });
});

Deno.test("deep and hostile values are refused without harm", async () => {
  await annotated((check) => {
    let deep: any = "x";
    for (let i = 0; i < 5000; i++) deep = [deep];
    assert.ok(check("loop", deep).faults.length > 0);
    const many = { ...good(), arr: new Array(100_000).fill("x") };
    assert.ok(check("all", many).faults.length <= 101);
    const polluted = JSON.parse('{"id":1,"children":[],"__proto__":{"polluted":true}}');
    const { value } = check("tree", polluted);
    assert.equal(value.polluted, undefined);
    assert.equal(({} as any).polluted, undefined);
    assert.deepEqual(Object.keys(check("tree", { id: 1, children: [], isAdmin: true }).value), [
      "id",
      "children",
    ]);
  });
});

Deno.test("overloads and generic functions are named with their lines", async () => {
  const main = [
    "export function twice(value: string): string;",
    "export function twice(value: number): number;",
    "export function twice(value: any): any { return value; }",
    "",
    "export function same<T>(value: T): T { return value; }",
    "export function map(value: Map<string, string>): string { return String(value); }",
  ].join("\n");
  await withWorker({ "main.ts": main }, async (worker) => {
    const { warnings } = await annotateApp(worker);
    assert.deepEqual(
      warnings.map(({ where, line }: { where: string; line?: number }) => [where, line]).toSorted(),
      [["map(value)", 6], [
        "same",
        5,
      ], [
        "twice",
        1,
      ]],
    );
  });
});

Deno.test("an app whose types cannot be read is told why", async () => {
  await withWorker({ "main.ts": "export function (" }, async (worker) => {
    await assert.rejects(annotateApp(worker), /main\.ts:1/);
  });
});
