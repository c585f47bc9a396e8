import { type Check, generate, miss, type Parts } from "./generate.ts";
import type { Schema } from "./schema.ts";

/** One value that is not as its type says. */
export interface Fault {
  /** JSON pointer (RFC 6901) from the parameter's name on. */
  path: string;
  expected: string;
  got: string;
}

/** Checks a value and gives back the converted one; what is wrong is added to `faults`. */
export type Validator = (value: unknown, path: string, faults: Fault[]) => unknown;

/** The most faults that one request is told. */
const mostFaults = 100;
/** The deepest nesting of a value; deeper ones would exhaust the stack in recursive types. */
const deepest = 200;
/** After how many values a schema is worth code of its own: to make it takes as long as some hundred checks. */
const warmAfter = 20;

const unsafeKey = "__proto__";

/**
 * Compiles schemas into functions, each once. `isText` compiles for values that come as text (path,
 * query, form): "5" is a number there, "true" a boolean.
 *
 * There are two kinds of functions. Closures are there at once and name what is wrong. A schema that is used often gets
 * generated code, which only tells good values from others; the others go to the closures.
 */
export class ValidatorCompiler {
  readonly #definitions: Record<string, Schema>;
  readonly #named = new Map<string, Validator>();
  #depth = 0;

  constructor(definitions: Record<string, Schema>) {
    this.#definitions = definitions;
  }

  compile(schema: Schema, isText = false): Validator {
    const check = this.#closure(schema, isText);
    return isText ? check : this.#warming(schema, check);
  }

  #warming(schema: Schema, check: Validator): Validator {
    let generated: Check | null = null;
    let seen = 0;
    return (value, path, faults) => {
      if (generated !== null) {
        const made = generated(value);
        if (made !== miss) return made;
      } else if (seen <= warmAfter && seen++ === warmAfter) {
        generated = generate(schema, this.#definitions, parts);
      }
      return check(value, path, faults);
    };
  }

  #closure(schema: Schema, isText = false): Validator {
    if (schema.$ref !== undefined) return this.#reference(schema.$ref, isText);
    if (schema["x-martlet-unchecked"] !== undefined) return (value) => value;
    if (schema.const !== undefined || schema.enum !== undefined) {
      return compileEnum(schema.enum ?? [schema.const], isText);
    }
    if (schema.oneOf !== undefined) return this.#union(schema.oneOf, schema, isText);
    if (schema.anyOf !== undefined) return this.#union(schema.anyOf, schema, isText);
    if (schema.allOf !== undefined) {
      const parts = schema.allOf.map((part) => this.#closure(part, isText));
      return (value, path, faults) => parts.reduce((current, part) => part(current, path, faults), value);
    }
    if (schema["x-martlet-type"] === "Date") return checkDate;
    if (schema["x-martlet-type"] === "bigint") return checkBigInt;
    switch (schema.type) {
      case "string":
        return compileString(schema);
      case "number":
      case "integer":
        return compileNumber(schema, isText);
      case "boolean":
        return isText ? checkBooleanText : checkBoolean;
      case "null":
        return (value, path, faults) =>
          value === null || (isText && value === "") ? null : fault(faults, path, "null", value);
      case "array":
        return this.#array(schema, isText);
      case "object":
        return this.#object(schema, isText);
      case undefined:
        return (value) => value;
    }
  }

  /** Follows references. */
  resolve(schema: Schema): Schema {
    let current = schema;
    for (let i = 0; current.$ref !== undefined && i < 100; i++) {
      current = this.#definitions[nameOf(current.$ref)] ?? {};
    }
    return current;
  }

  #reference(reference: string, isText: boolean): Validator {
    const key = `${isText ? "t" : "j"}:${reference}`;
    const known = this.#named.get(key);
    if (known !== undefined) return known;
    let compiled: Validator | null = null;
    const definition = this.#definitions[nameOf(reference)];
    if (definition === undefined) {
      throw new TypeError(`the schema names ${reference}, which it does not have`);
    }
    // Types that contain themselves find this entry while they are compiled.
    const entry: Validator = (value, path, faults) => {
      if (this.#depth >= deepest) return fault(faults, path, `at most ${deepest} levels of nesting`, value);
      this.#depth += 1;
      try {
        return compiled!(value, path, faults);
      } finally {
        this.#depth -= 1;
      }
    };
    this.#named.set(key, entry);
    compiled = this.#closure(definition, isText);
    return entry;
  }

  #array(schema: Schema, isText: boolean): Validator {
    const least = schema.minItems ?? 0;
    const most = schema.maxItems ?? Infinity;
    const first = (schema.prefixItems ?? []).map((item) => this.#closure(item, isText));
    const rest = schema.items === false ? null : this.#closure(schema.items ?? {}, isText);
    return (value, path, faults) => {
      if (!Array.isArray(value)) {
        const parsed = isText ? parseText(value) : undefined;
        if (!Array.isArray(parsed)) return fault(faults, path, "an array", value);
        value = parsed;
      }
      const items = value as unknown[];
      if (items.length < least) return fault(faults, path, `at least ${least} items`, value);
      const longest = rest === null ? Math.min(most, first.length) : most;
      if (items.length > longest) return fault(faults, path, `at most ${longest} items`, value);
      const made: unknown[] = new Array(items.length);
      for (let i = 0; i < items.length; i++) {
        if (faults.length >= mostFaults) break;
        const before = faults.length;
        made[i] = (first[i] ?? rest!)(items[i], "", faults);
        if (faults.length > before) prefix(faults, before, `${path}/${i}`);
      }
      if (schema.uniqueItems && new Set(items.map((item) => JSON.stringify(item))).size !== items.length) {
        return fault(faults, path, "items that differ from each other", value);
      }
      return made;
    };
  }

  #object(schema: Schema, isText: boolean): Validator {
    const required = new Set(schema.required);
    const fields = Object.entries(schema.properties ?? {}).map(([name, property]) => ({
      name,
      pointer: pointer(name),
      isRequired: required.has(name),
      // A name such as `constructor` must not be found on the prototype.
      isInherited: name in Object.prototype,
      expected: expectation(this.resolve(property)),
      standard: property.default,
      check: this.#closure(property, isText),
    }));
    const names = new Set(fields.map(({ name }) => name));
    const others = schema.additionalProperties === undefined
      ? null
      : this.#closure(schema.additionalProperties, isText);
    return (value, path, faults) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        const parsed = isText ? parseText(value) : undefined;
        if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
          return fault(faults, path, "an object", value);
        }
        value = parsed;
      }
      const source = value as Record<string, unknown>;
      const made: Record<string, unknown> = {};
      for (let i = 0; i < fields.length; i++) {
        const field = fields[i]!;
        const { name } = field;
        const current = field.isInherited && !Object.hasOwn(source, name) ? undefined : source[name];
        if (current === undefined) {
          if (field.standard !== undefined) set(made, name, structuredClone(field.standard));
          else if (field.isRequired) {
            faults.push({ path: path + field.pointer, expected: field.expected, got: "nothing" });
          }
          continue;
        }
        const before = faults.length;
        const checked = field.check(current, "", faults);
        if (field.isInherited) set(made, name, checked);
        else made[name] = checked;
        if (faults.length > before) prefix(faults, before, path + field.pointer);
      }
      if (others !== null) {
        for (const name of Object.keys(source)) {
          if (names.has(name)) continue;
          if (faults.length >= mostFaults) break;
          const before = faults.length;
          set(made, name, others(source[name], "", faults));
          if (faults.length > before) prefix(faults, before, path + pointer(name));
        }
      }
      return made;
    };
  }

  #union(options: Schema[], schema: Schema, isText: boolean): Validator {
    const expected = options.map((option) => expectation(this.resolve(option))).join(" or ");
    const property = schema.discriminator?.propertyName;
    if (property !== undefined) {
      const byTag = new Map<unknown, Validator>();
      for (const option of options) {
        const tag = this.resolve(option).properties?.[property];
        const check = this.#closure(option, isText);
        for (const value of tag?.enum ?? [tag?.const]) byTag.set(value, check);
      }
      const tags = [...byTag.keys()].map((tag) => JSON.stringify(tag)).join(" or ");
      const checkNull = options.some((option) => option.type === "null");
      return (value, path, faults) => {
        if (value === null && checkNull) return null;
        if (typeof value !== "object" || value === null) return fault(faults, path, "an object", value);
        const tag = (value as Record<string, unknown>)[property];
        const check = byTag.get(tag);
        if (check === undefined) return fault(faults, `${path}/${property}`, tags, tag);
        return check(value, path, faults);
      };
    }
    const checks = options.map((option) => this.#closure(option, isText));
    return (value, path, faults) => {
      let closest: Fault[] | null = null;
      for (const check of checks) {
        const own: Fault[] = [];
        const made = check(value, path, own);
        if (own.length === 0) return made;
        // Faults inside of the value say more than that it is of another kind.
        if (own[0]!.path !== path && (closest === null || own.length < closest.length)) closest = own;
      }
      if (closest !== null) faults.push(...closest);
      else fault(faults, path, expected, value);
      return value;
    };
  }
}

/** Part of a JSON pointer (RFC 6901). */
function pointer(name: string): string {
  return `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** Says where the faults of a part are in the whole; paths are made only when there is something to tell. */
function prefix(faults: Fault[], from: number, path: string): void {
  for (let i = from; i < faults.length; i++) faults[i]!.path = path + faults[i]!.path;
}

function nameOf(reference: string): string {
  return reference.slice(reference.lastIndexOf("/") + 1);
}

function set(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name === unsafeKey) {
    Object.defineProperty(target, name, { value, enumerable: true, writable: true, configurable: true });
  } else target[name] = value;
}

function fault(faults: Fault[], path: string, expected: string, value: unknown): unknown {
  if (faults.length < mostFaults) faults.push({ path, expected, got: describe(value) });
  return value;
}

/** A value in few words, for people. */
function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object") return "an object";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function parseText(value: unknown): unknown {
  if (typeof value !== "string") return undefined;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

function compileEnum(values: unknown[], isText: boolean): Validator {
  const known = new Map<unknown, unknown>();
  for (const value of values) known.set(value, value);
  if (isText) { for (const value of values) if (typeof value !== "string") known.set(String(value), value); }
  const expected = values.map((value) => JSON.stringify(value)).join(" or ");
  return (value, path, faults) => known.has(value) ? known.get(value) : fault(faults, path, expected, value);
}

/** Formats that are checked; others are for documents only. */
const formats: Record<string, RegExp> = {
  email: /^[^\s@]+@[^\s@.]+(?:\.[^\s@.]+)*$/,
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i,
  date: /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$/,
  "date-time":
    /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/,
  uri: /^[a-z][a-z0-9+.-]*:\S+$/i,
  ipv4: /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/,
};

function lengthOf(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

function compileString(schema: Schema): Validator {
  const { minLength = 0, maxLength = Infinity } = schema;
  const pattern = schema.pattern === undefined ? null : new RegExp(schema.pattern, "u");
  const format = schema.format === undefined ? null : formats[schema.format] ?? null;
  const isFree = minLength === 0 && maxLength === Infinity && pattern === null && format === null;
  if (isFree) {
    return (value, path, faults) =>
      typeof value === "string" ? value : fault(faults, path, "a string", value);
  }
  return (value, path, faults) => {
    if (typeof value !== "string") return fault(faults, path, "a string", value);
    // Lengths are in characters, not in UTF-16 units (JSON Schema, 6.3): one or two units each.
    const isClear = value.length < minLength || (value.length >= 2 * minLength && value.length <= maxLength);
    const length = isClear ? value.length : lengthOf(value);
    if (length < minLength) return fault(faults, path, `a string of at least ${minLength} characters`, value);
    if (length > maxLength) return fault(faults, path, `a string of at most ${maxLength} characters`, value);
    if (pattern !== null && !pattern.test(value)) {
      return fault(faults, path, `a string that matches ${schema.pattern}`, value);
    }
    if (format !== null && !format.test(value)) {
      return fault(faults, path, `a string in the format ${schema.format}`, value);
    }
    return value;
  };
}

/** A JSON number as text; `Number` alone would take "", " 1" and "0x10". */
const numberText = /^-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

function compileNumber(schema: Schema, isText: boolean): Validator {
  const expected = expectation(schema);
  const isInteger = schema.type === "integer";
  const {
    minimum = -Infinity,
    maximum = Infinity,
    exclusiveMinimum = -Infinity,
    exclusiveMaximum = Infinity,
    multipleOf,
  } = schema;
  return (value, path, faults) => {
    const number = isText && typeof value === "string" && numberText.test(value) ? Number(value) : value;
    if (typeof number !== "number" || !Number.isFinite(number)) return fault(faults, path, expected, value);
    if (
      (isInteger && !Number.isInteger(number)) || number < minimum || number > maximum ||
      number <= exclusiveMinimum || number >= exclusiveMaximum
    ) return fault(faults, path, expected, value);
    if (multipleOf !== undefined) {
      const quotient = number / multipleOf;
      if (Math.abs(quotient - Math.round(quotient)) > 1e-9) return fault(faults, path, expected, value);
    }
    return number;
  };
}

const checkBoolean: Validator = (value, path, faults) =>
  typeof value === "boolean" ? value : fault(faults, path, "true or false", value);

const checkBooleanText: Validator = (value, path, faults) => {
  if (value === true || value === "true" || value === "1" || value === "on" || value === "") return true;
  if (value === false || value === "false" || value === "0" || value === "off") return false;
  return fault(faults, path, "true or false", value);
};

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function toDate(value: unknown): Date | undefined {
  if (typeof value !== "string") return undefined;
  if (!formats["date-time"]!.test(value) && !formats.date!.test(value)) return undefined;
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) return undefined;
  // February 30 would roll over into March.
  const day = Number(value.slice(8, 10));
  if (day > 28 && day > daysIn(Number(value.slice(0, 4)), Number(value.slice(5, 7)))) return undefined;
  return date;
}

const checkDate: Validator = (value, path, faults) =>
  toDate(value) ?? fault(faults, path, "a date and time such as 2026-01-31T12:00:00Z", value);

function toBigInt(value: unknown): bigint | undefined {
  return typeof value === "string" && /^-?\d{1,1000}$/.test(value) ? BigInt(value) : undefined;
}

const checkBigInt: Validator = (value, path, faults) =>
  toBigInt(value) ?? fault(faults, path, "a whole number, as text", value);

const parts: Parts = { formats, lengthOf, toDate, toBigInt, deepest };

/** What a schema wants, in few words. */
export function expectation(schema: Schema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema["x-martlet-type"] === "Date") return "a date and time";
  switch (schema.type) {
    case "number":
    case "integer": {
      const limits: string[] = [];
      if (schema.minimum !== undefined) limits.push(`at least ${schema.minimum}`);
      if (schema.maximum !== undefined) limits.push(`at most ${schema.maximum}`);
      if (schema.exclusiveMinimum !== undefined) limits.push(`greater than ${schema.exclusiveMinimum}`);
      if (schema.exclusiveMaximum !== undefined) limits.push(`less than ${schema.exclusiveMaximum}`);
      if (schema.multipleOf !== undefined) limits.push(`a multiple of ${schema.multipleOf}`);
      const kind = schema.type === "integer" ? "a whole number" : "a number";
      return limits.length === 0 ? kind : `${kind}, ${limits.join(" and ")}`;
    }
    case "string":
      return "a string";
    case "boolean":
      return "true or false";
    case "null":
      return "null";
    case "array":
      return "an array";
    case "object":
      return "an object";
    case undefined:
      return "a value";
  }
}
