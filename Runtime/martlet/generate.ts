import type { Schema } from "./schema.ts";

/** What a generated check gives back for a value that is not as its type says. */
export const miss: unique symbol = Symbol("miss");

/** Gives back the converted value, or `miss`; it knows nothing of what is wrong. */
export type Check = (value: unknown) => unknown;

/** Functions and patterns that generated code shares with the code that names faults. */
export interface Parts {
  formats: Record<string, RegExp>;
  /** The length of a text in characters. */
  lengthOf(text: string): number;
  /** The date or number that a value means, or `undefined`. */
  toDate(value: unknown): Date | undefined;
  toBigInt(value: unknown): bigint | undefined;
  /** The deepest nesting of a value. */
  deepest: number;
}

/**
 * Writes a schema as one JavaScript function without closures, which the engine compiles as it does code by hand.
 * Returns `null` where the schema has something that only closures can do, or where code cannot be made of text
 * (`--disallow-code-generation-from-strings`).
 */
export function generate(
  schema: Schema,
  definitions: Record<string, Schema>,
  parts: Parts,
): Check | null {
  const writer = new Writer(definitions, parts);
  try {
    const entry = writer.function(schema);
    const source = `"use strict";${writer.source}\nreturn (v) => ${entry}(v, 0);`;
    return new Function("k", source)(writer.constants) as Check;
  } catch (error) {
    if (error instanceof Unwritable || error instanceof EvalError) return null;
    throw error;
  }
}

/** A schema that is left to closures. */
class Unwritable extends Error {}

/** Values of an enum up to which comparisons are quicker than a set. */
const mostCompared = 8;

class Writer {
  readonly constants: unknown[] = [];
  source = "";
  readonly #definitions: Record<string, Schema>;
  readonly #parts: Parts;
  readonly #references = new Map<string, string>();
  readonly #constantNames = new Map<unknown, string>();
  #names = 0;

  constructor(definitions: Record<string, Schema>, parts: Parts) {
    this.#definitions = definitions;
    this.#parts = parts;
    this.#constant(miss);
  }

  /** Writes a function of a value and its depth, and returns its name. */
  function(schema: Schema, name: string = this.#name("f")): string {
    const lines: string[] = [];
    const result = this.#value(schema, "v", lines);
    this.source += `\nfunction ${name}(v, d) {\n${lines.join("\n")}\nreturn ${result};\n}`;
    return name;
  }

  #name(prefix: string): string {
    return `${prefix}${this.#names++}`;
  }

  #constant(value: unknown): string {
    let name = this.#constantNames.get(value);
    if (name === undefined) {
      name = this.#name("k");
      this.#constantNames.set(value, name);
      this.source = `\nconst ${name} = k[${this.constants.push(value) - 1}];${this.source}`;
    }
    return name;
  }

  get #miss(): string {
    return `return ${this.#constant(miss)};`;
  }

  /** Adds the lines that check `name`, and returns the expression of the converted value. */
  #value(schema: Schema, name: string, lines: string[]): string {
    const test = this.#test(schema, name);
    if (test !== null) {
      if (test !== "true") lines.push(`if (!(${test})) ${this.#miss}`);
      return name;
    }
    if (schema.$ref !== undefined) return this.#called(this.#reference(schema.$ref), name, lines);
    if (schema.oneOf !== undefined) return this.#union(schema.oneOf, schema, name, lines);
    if (schema.anyOf !== undefined) return this.#union(schema.anyOf, schema, name, lines);
    if (schema.allOf !== undefined) {
      return schema.allOf.reduce((current, part) => {
        const next = this.#name("p");
        lines.push(`const ${next} = ${this.#value(part, current, lines)};`);
        return next;
      }, name);
    }
    const special = schema["x-martlet-type"];
    if (special !== undefined) {
      const made = this.#name("p");
      const convert = this.#constant(special === "Date" ? this.#parts.toDate : this.#parts.toBigInt);
      lines.push(`const ${made} = ${convert}(${name});`, `if (${made} === undefined) ${this.#miss}`);
      return made;
    }
    if (schema.type === "array") return this.#array(schema, name, lines);
    if (schema.type === "object") return this.#object(schema, name, lines);
    throw new Unwritable();
  }

  /** The condition for a value that is given back as it is; `null` for one that is converted or copied. */
  #test(schema: Schema, name: string): string | null {
    if (schema.$ref !== undefined) return null;
    if (schema["x-martlet-unchecked"] !== undefined) return "true";
    if (schema.const !== undefined || schema.enum !== undefined) {
      return this.#among(schema.enum ?? [schema.const], name);
    }
    const options = schema.oneOf ?? schema.anyOf;
    if (options !== undefined) {
      const tests = options.map((option) => this.#test(option, name));
      return tests.includes(null) ? null : `(${tests.join(" || ")})`;
    }
    if (schema.allOf !== undefined || schema["x-martlet-type"] !== undefined) return null;
    switch (schema.type) {
      case "string":
        return this.#text(schema, name);
      case "number":
      case "integer":
        return number(schema, name);
      case "boolean":
        return `typeof ${name} === "boolean"`;
      case "null":
        return `${name} === null`;
      case "array":
      case "object":
        return null;
      case undefined:
        return "true";
    }
  }

  #among(values: unknown[], name: string): string {
    const isPlain = values.every((value) => value === null || typeof value !== "object");
    if (values.length > mostCompared || !isPlain) return `${this.#constant(new Set(values))}.has(${name})`;
    return `(${values.map((value) => `${name} === ${JSON.stringify(value)}`).join(" || ")})`;
  }

  #text(schema: Schema, name: string): string {
    const { minLength = 0, maxLength = Infinity } = schema;
    const tests = [`typeof ${name} === "string"`];
    // A character is one or two units of `length`: most texts need not be counted.
    if (minLength > 0) tests.push(`${name}.length >= ${minLength}`);
    const isShort = `${name}.length <= ${maxLength}`;
    const lengthOf = this.#constant(this.#parts.lengthOf);
    if (maxLength !== Infinity) {
      tests.push(
        `${name}.length <= ${2 * maxLength} && (${isShort} || ${lengthOf}(${name}) <= ${maxLength})`,
      );
    }
    if (minLength > 1) {
      tests.push(`(${name}.length >= ${2 * minLength} || ${lengthOf}(${name}) >= ${minLength})`);
    }
    if (schema.pattern !== undefined) {
      tests.push(`${this.#constant(new RegExp(schema.pattern, "u"))}.test(${name})`);
    }
    const format = schema.format === undefined ? undefined : this.#parts.formats[schema.format];
    if (format !== undefined) tests.push(`${this.#constant(format)}.test(${name})`);
    return tests.join(" && ");
  }

  /** A call of another function, one level deeper. */
  #called(callee: string, name: string, lines: string[]): string {
    const made = this.#name("p");
    lines.push(`const ${made} = ${callee}(${name}, d);`);
    lines.push(`if (${made} === ${this.#constant(miss)}) ${this.#miss}`);
    return made;
  }

  #reference(reference: string): string {
    let name = this.#references.get(reference);
    if (name !== undefined) return name;
    const definition = this.#definitions[reference.slice(reference.lastIndexOf("/") + 1)];
    if (definition === undefined) throw new Unwritable();
    name = this.#name("r");
    this.#references.set(reference, name);
    const inner = this.function(definition);
    this.source += `\nfunction ${name}(v, d) {\nif (d >= ${this.#parts.deepest}) ${this.#miss}\n` +
      `return ${inner}(v, d + 1);\n}`;
    return name;
  }

  #array(schema: Schema, name: string, lines: string[]): string {
    const first = schema.prefixItems ?? [];
    const most = schema.items === false
      ? Math.min(schema.maxItems ?? Infinity, first.length)
      : schema.maxItems ?? Infinity;
    lines.push(`if (!Array.isArray(${name})) ${this.#miss}`);
    if ((schema.minItems ?? 0) > 0) lines.push(`if (${name}.length < ${schema.minItems}) ${this.#miss}`);
    if (most !== Infinity) lines.push(`if (${name}.length > ${most}) ${this.#miss}`);
    const [made, index, item] = [this.#name("a"), this.#name("i"), this.#name("x")];
    lines.push(`const ${made} = new Array(${name}.length);`);
    first.forEach((part, i) => {
      const inner: string[] = [];
      const result = this.#value(part, item, inner);
      lines.push(`if (${name}.length > ${i}) {`, `const ${item} = ${name}[${i}];`, ...inner);
      lines.push(`${made}[${i}] = ${result};`, "}");
    });
    if (schema.items !== false) {
      const inner: string[] = [];
      const result = this.#value(schema.items ?? {}, item, inner);
      lines.push(`for (let ${index} = ${first.length}; ${index} < ${name}.length; ${index}++) {`);
      lines.push(`const ${item} = ${name}[${index}];`, ...inner, `${made}[${index}] = ${result};`, "}");
    }
    if (schema.uniqueItems) {
      lines.push(
        `if (new Set(${name}.map((x) => JSON.stringify(x))).size !== ${name}.length) ${this.#miss}`,
      );
    }
    return made;
  }

  #object(schema: Schema, name: string, lines: string[]): string {
    const required = new Set(schema.required);
    const properties = Object.entries(schema.properties ?? {});
    // A name such as `constructor` is found on the prototype, and `__proto__` is not a field: closures know both.
    if (properties.some(([property]) => property in Object.prototype)) throw new Unwritable();
    lines.push(
      `if (typeof ${name} !== "object" || ${name} === null || Array.isArray(${name})) ${this.#miss}`,
    );
    const made = this.#name("o");
    const literal: string[] = [];
    const later: string[] = [];
    for (const [property, part] of properties) {
      const key = JSON.stringify(property);
      const field = this.#name("x");
      lines.push(`const ${field} = ${name}[${key}];`);
      const isOptional = part.default === undefined && !required.has(property);
      const inner: string[] = [];
      const value = this.#value(part, field, inner);
      if (part.default !== undefined) {
        const chosen = this.#name("p");
        lines.push(
          `let ${chosen};`,
          `if (${field} === undefined) ${chosen} = ${this.#copyOf(part.default)};`,
        );
        lines.push("else {", ...inner, `${chosen} = ${value};`, "}");
        (later.length === 0 ? literal : later).push(
          later.length === 0 ? `${key}: ${chosen}` : `${made}[${key}] = ${chosen};`,
        );
      } else if (isOptional) {
        // Fields that are missing are missing in the copy too, and the order is that of the type.
        later.push(`if (${field} !== undefined) {`, ...inner, `${made}[${key}] = ${value};`, "}");
      } else {
        lines.push(`if (${field} === undefined) ${this.#miss}`, ...inner);
        if (later.length === 0) literal.push(`${key}: ${value}`);
        else later.push(`${made}[${key}] = ${value};`);
      }
    }
    lines.push(`const ${made} = { ${literal.join(", ")} };`, ...later);
    if (schema.additionalProperties !== undefined) {
      const [property, item] = [this.#name("n"), this.#name("x")];
      const inner: string[] = [];
      const value = this.#value(schema.additionalProperties, item, inner);
      lines.push(`for (const ${property} of Object.keys(${name})) {`);
      if (properties.length > 0) {
        lines.push(
          `if (${this.#constant(new Set(properties.map(([known]) => known)))}.has(${property})) continue;`,
        );
      }
      lines.push(`if (${property} === "__proto__") ${this.#miss}`);
      lines.push(`const ${item} = ${name}[${property}];`, ...inner, `${made}[${property}] = ${value};`, "}");
    }
    return made;
  }

  /** A default is written anew for each value, so that no handler changes that of the next. */
  #copyOf(value: unknown): string {
    if (value === null || typeof value !== "object") return JSON.stringify(value);
    return `structuredClone(${this.#constant(value)})`;
  }

  #union(options: Schema[], schema: Schema, name: string, lines: string[]): string {
    const property = schema.discriminator?.propertyName;
    if (property !== undefined) return this.#tagged(options, property, name, lines);
    const made = this.#name("p");
    lines.push(`let ${made} = ${this.#constant(miss)};`);
    for (const option of options) {
      const test = this.#test(option, name);
      lines.push(`if (${made} === ${this.#constant(miss)}) {`);
      if (test !== null) lines.push(`if (${test}) ${made} = ${name};`);
      else lines.push(`${made} = ${this.function(option)}(${name}, d);`);
      lines.push("}");
    }
    lines.push(`if (${made} === ${this.#constant(miss)}) ${this.#miss}`);
    return made;
  }

  #tagged(options: Schema[], property: string, name: string, lines: string[]): string {
    const made = this.#name("p");
    const hasNull = options.some((option) => option.type === "null");
    lines.push(`let ${made};`);
    lines.push(hasNull ? `if (${name} === null) ${made} = null; else {` : "{");
    lines.push(`if (typeof ${name} !== "object" || ${name} === null) ${this.#miss}`);
    lines.push(`switch (${name}[${JSON.stringify(property)}]) {`);
    const seen = new Map<unknown, Schema>();
    for (const option of options) {
      const tag = this.#resolve(option).properties?.[property];
      // The last option of a tag counts, as in the closures' map.
      for (const value of tag?.enum ?? [tag?.const]) if (value !== undefined) seen.set(value, option);
    }
    for (const [value, option] of seen) {
      if (typeof value === "object") throw new Unwritable();
      lines.push(`case ${JSON.stringify(value)}: ${made} = ${this.function(option)}(${name}, d); break;`);
    }
    lines.push(`default: ${this.#miss}`, "}", `if (${made} === ${this.#constant(miss)}) ${this.#miss}`, "}");
    return made;
  }

  #resolve(schema: Schema): Schema {
    let current = schema;
    for (let i = 0; current.$ref !== undefined && i < 100; i++) {
      current = this.#definitions[current.$ref.slice(current.$ref.lastIndexOf("/") + 1)] ?? {};
    }
    return current;
  }
}

function number(schema: Schema, name: string): string {
  const tests = [`Number.is${schema.type === "integer" ? "Integer" : "Finite"}(${name})`];
  if (schema.minimum !== undefined) tests.push(`${name} >= ${schema.minimum}`);
  if (schema.maximum !== undefined) tests.push(`${name} <= ${schema.maximum}`);
  if (schema.exclusiveMinimum !== undefined) tests.push(`${name} > ${schema.exclusiveMinimum}`);
  if (schema.exclusiveMaximum !== undefined) tests.push(`${name} < ${schema.exclusiveMaximum}`);
  if (schema.multipleOf !== undefined) {
    const quotient = `${name} / ${schema.multipleOf}`;
    tests.push(`Math.abs(${quotient} - Math.round(${quotient})) <= 1e-9`);
  }
  return tests.join(" && ");
}
