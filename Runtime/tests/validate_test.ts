import assert from "node:assert/strict";
import { generate, miss } from "../martlet/generate.ts";
import type { Schema } from "../martlet/schema.ts";
import { type Fault, ValidatorCompiler } from "../martlet/validate.ts";

/** Numbers from 0 up to 1 that are the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

class Maker {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = generator(seed);
  }

  pick<Value>(...values: Value[]): Value {
    return values[Math.floor(this.#random() * values.length)]!;
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  /** Any type that the annotations can be turned into. */
  schema(depth: number): Schema {
    const scalars: (() => Schema)[] = [
      () => ({ type: "string", minLength: this.below(4), maxLength: 2 + this.below(4) }),
      () => ({ type: "string", minLength: 1 }),
      () => ({ type: "string", pattern: this.pick("^a", "b$", "^.$") }),
      () => ({ type: "string", format: this.pick("email", "uuid", "date", "other") }),
      () => ({ type: "number", minimum: this.below(3), exclusiveMaximum: 3 + this.below(3) }),
      () => ({ type: "integer", multipleOf: this.pick(1, 2, 0.5) }),
      () => ({ type: "boolean" }),
      () => ({ type: "null" }),
      () => ({ enum: [1, "a", null, true].slice(0, 1 + this.below(4)) }),
      () => ({ enum: Array.from({ length: 12 }, (_, i) => i) }),
      () => ({ const: this.pick<unknown>("a", 1, null) }),
      () => ({ type: "string", format: "date-time", "x-martlet-type": "Date" }),
      () => ({ type: "string", "x-martlet-type": "bigint" }),
      () => ({ "x-martlet-unchecked": "a function" }),
      () => ({}),
    ];
    if (depth === 0) return this.pick(...scalars)();
    const inner = () => this.schema(depth - 1);
    return this.pick(
      this.pick(...scalars),
      (): Schema => ({ type: "array", items: inner(), maxItems: 4, minItems: this.below(2) }),
      (): Schema => ({ type: "array", items: inner(), uniqueItems: true }),
      (): Schema => ({
        type: "array",
        prefixItems: [inner(), inner()],
        items: this.pick<Schema | false>(false, {}),
      }),
      () => this.object(depth),
      () => this.object(depth),
      () => this.object(depth),
      (): Schema => ({ anyOf: [inner(), inner(), { type: "null" }] }),
      (): Schema => ({
        oneOf: ["a", "b"].map((tag) => this.#tagged(tag, depth)),
        discriminator: { propertyName: "tag" },
      }),
      (): Schema => ({ allOf: [this.object(depth), { type: "object", additionalProperties: {} }] }),
      (): Schema => ({ $ref: "#/$defs/node" }),
    )();
  }

  object(depth: number): Schema {
    const properties: Record<string, Schema> = {};
    const required: string[] = [];
    for (
      const name of ["a", "b c", 'd"e', "f~/", "constructor"].slice(0, 1 + this.below(4) + this.below(2))
    ) {
      properties[name] = this.schema(depth - 1);
      const kind = this.below(4);
      if (kind < 2) required.push(name);
      if (kind === 3) properties[name].default = this.pick<unknown>(1, "x", [1], null);
    }
    const others = this.below(4) === 0 ? { additionalProperties: this.schema(depth - 1) } : {};
    return { type: "object", properties, required, ...others };
  }

  #tagged(tag: string, depth: number): Schema {
    const made = this.object(depth);
    return {
      ...made,
      properties: { tag: { const: tag }, ...made.properties },
      required: ["tag", ...made.required!],
    };
  }

  /** A value that is mostly of the type. */
  value(schema: Schema, depth = 6): unknown {
    if (this.below(25) === 0 || depth === 0) return this.#wrong();
    if (schema.$ref !== undefined) return this.value(definitions.node!, depth - 1);
    if (schema.const !== undefined) return schema.const;
    if (schema.enum !== undefined) return this.pick(...schema.enum);
    const options = schema.oneOf ?? schema.anyOf;
    if (options !== undefined) return this.value(this.pick(...options), depth);
    if (schema.allOf !== undefined) return this.value(schema.allOf[0]!, depth);
    if (schema["x-martlet-type"] === "Date") {
      return this.pick("2026-01-31T12:00:00Z", "2026-02-30T12:00:00Z", "2024-02-29", "2026-02-29", "now");
    }
    if (schema["x-martlet-type"] === "bigint") return this.pick<unknown>("12", "-1", 7, "1.5", 1.5);
    switch (schema.type) {
      case "string":
        return this.pick("", "a", "ab", "b", "😀", "a😀b", "😀😀😀", "abcdefgh", "a@b.c", "2024-02-29");
      case "number":
      case "integer":
        return this.pick<unknown>(0, 1, 2, 2.5, 3, 5, -1, Infinity, "2");
      case "boolean":
        return this.pick<unknown>(true, false, 0);
      case "array": {
        const count = this.below(4) + (schema.prefixItems === undefined ? 0 : 1);
        const all = schema.prefixItems ?? [];
        return Array.from(
          { length: count },
          (_, i) => this.value(all[i] ?? (schema.items === false ? {} : schema.items ?? {}), depth - 1),
        );
      }
      case "object": {
        const made: Record<string, unknown> = {};
        for (const [name, part] of Object.entries(schema.properties ?? {})) {
          if (this.below(12) > 0) made[name] = this.value(part, depth - 1);
        }
        if (this.below(3) === 0) made.extra = this.value(schema.additionalProperties ?? {}, depth - 1);
        if (this.below(20) === 0) return JSON.parse(`{"__proto__": 1, "rest": ${JSON.stringify(made)}}`);
        return made;
      }
      default:
        return this.#wrong();
    }
  }

  #wrong(): unknown {
    return this.pick<unknown>(null, 1, "text", true, [], {}, [1], { a: 1 }, { tag: "c" });
  }
}

const definitions: Record<string, Schema> = {
  node: {
    type: "object",
    properties: {
      name: { type: "string" },
      next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] },
      all: { type: "array", items: { $ref: "#/$defs/node" } },
    },
    required: ["name"],
  },
};

/** Answers of the two kinds of validators, in a form that can be compared. */
function both(schema: Schema): (value: unknown) => void {
  const compiler = new ValidatorCompiler(definitions);
  const warm = compiler.compile(schema);
  for (let i = 0; i < 25; i++) warm(i, "v", []);
  let closures = compiler.compile(schema);
  let asked = 1;
  return (value) => {
    const [first, second]: [Fault[], Fault[]] = [[], []];
    // One that was asked less than 20 times is still made of closures.
    if (asked++ % 15 === 0) closures = compiler.compile(schema);
    const expected = closures(value, "v", first);
    const got = warm(value, "v", second);
    assert.deepEqual(second, first);
    if (first.length === 0) {
      assert.deepStrictEqual(got, expected);
      assert.deepEqual(keysOf(got), keysOf(expected));
    }
  };
}

/** The names of all fields in their order, which `deepStrictEqual` does not look at. */
function keysOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(keysOf);
  if (typeof value !== "object" || value === null || value instanceof Date) return null;
  return Object.entries(value).map(([name, part]) => [name, keysOf(part)]);
}

Deno.test("generated code and closures agree about random values of random types", () => {
  const seed = Number(Deno.env.get("MARTLET_SEED") ?? Math.floor(Math.random() * 1e9));
  const maker = new Maker(seed);
  let good = 0;
  let generated = 0;
  for (let i = 0; i < 400; i++) {
    const schema = maker.schema(3);
    const check = both(schema);
    const alone = new ValidatorCompiler(definitions).compile(schema);
    for (let j = 0; j < 40; j++) {
      const value = maker.value(schema);
      try {
        check(value);
      } catch (error) {
        const about = `seed ${seed}: ${JSON.stringify(schema)} of ${JSON.stringify(value)}`;
        throw new Error(about, { cause: error });
      }
      const faults: Fault[] = [];
      alone(value, "v", faults);
      if (faults.length === 0) good += 1;
    }
    generated += Number(isGenerated(schema));
  }
  // The test would show nothing if all values were refused, or all schemas left to closures.
  assert.ok(good > 1_000 && good < 15_000, `${good} of 16,000 values are good (seed ${seed})`);
  assert.ok(generated > 200, `${generated} of 400 schemas became code (seed ${seed})`);
});

const parts = {
  formats: {},
  lengthOf: (text: string) => [...text].length,
  toDate: () => undefined,
  toBigInt: () => undefined,
  deepest: 200,
};

function isGenerated(schema: Schema): boolean {
  return generate(schema, definitions, parts) !== null;
}

Deno.test("a name of a field cannot become code", () => {
  const name = `"] = 1; throw new Error("run"); v["`;
  const check = generate(
    { type: "object", properties: { [name]: { const: `" + evil + "` } }, required: [name] },
    {},
    parts,
  )!;
  assert.equal(check({}), miss);
  assert.deepEqual(check({ [name]: `" + evil + "` }), { [name]: `" + evil + "` });
});

Deno.test("values nested without end are refused and do not exhaust the stack", () => {
  const compiler = new ValidatorCompiler(definitions);
  const check = compiler.compile({ $ref: "#/$defs/node" });
  const nested = (depth: number) => {
    let value: unknown = null;
    for (let i = 0; i < depth; i++) value = { name: "n", next: value };
    return value;
  };
  for (const _ of Array.from({ length: 30 })) {
    const faults: Fault[] = [];
    check(nested(5), "v", faults);
    assert.deepEqual(faults, []);
  }
  const faults: Fault[] = [];
  check(nested(10_000), "v", faults);
  assert.equal(faults.length, 1);
});

Deno.test("without code from text, closures do the same", async () => {
  const url = (path: string) => new URL(path, import.meta.url).href;
  const script = `
    import { ValidatorCompiler } from "${url("../martlet/validate.ts")}";
    const check = new ValidatorCompiler({}).compile({ type: "object", properties: { a: { type: "integer" } } });
    for (let i = 0; i < 100; i++) check({ a: i }, "v", []);
    const faults = [];
    check({ a: "x" }, "v", faults);
    console.log(JSON.stringify([check({ a: 5 }, "v", []), faults[0].path]));`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--v8-flags=--disallow-code-generation-from-strings", script],
  }).output();
  assert.equal(new TextDecoder().decode(stdout).trim(), `[{"a":5},"v/a"]`);
});
