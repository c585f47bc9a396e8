import type { Schema } from "../martlet/schema.ts";
import type { Doc, DocDeclaration, DocProperty, DocType } from "./doc.ts";
import { constraints } from "./jsdoc.ts";

/** Where a type is written, and what its type parameters stand for there. */
export interface Scope {
  file: string;
  arguments: Map<string, Bound>;
}

/** A type together with the place it is to be read in. */
export interface Bound {
  type: DocType;
  scope: Scope;
}

/** A property of an object type. */
interface Member extends Bound {
  isOptional: boolean;
  comment: DocProperty["jsDoc"];
}

/** The properties of an object type, and the type of all others where there is an index signature. */
interface Members {
  properties: Map<string, Member>;
  index: Bound | null;
}

/** A type that JSON Schema cannot say. */
class Inexpressible extends Error {}

/** How deep types may be nested before they are taken to be endless. */
const deepest = 64;
const anything = (): Schema => ({});

/**
 * Turns declared types into JSON Schema 2020-12.
 *
 * Named types become definitions. What cannot be expressed is passed through unchecked and told to
 * `warn` with the place; it is never guessed.
 */
export class TypeConverter {
  readonly definitions: Record<string, Schema> = {};
  readonly #doc: Doc;
  readonly #warn: (where: string, message: string) => void;
  readonly #names = new Map<string, string>();
  #depth = 0;

  constructor(doc: Doc, warn: (where: string, message: string) => void) {
    this.#doc = doc;
    this.#warn = warn;
  }

  /** The schema of a type; `where` names the place in warnings. */
  schema(bound: Bound, where: string): Schema {
    if (this.#depth >= deepest) return this.#unchecked(where, "the type is nested without end");
    this.#depth += 1;
    try {
      return this.#schema(bound, where);
    } catch (error) {
      if (error instanceof Inexpressible) return this.#unchecked(where, error.message);
      throw error;
    } finally {
      this.#depth -= 1;
    }
  }

  /** Follows aliases and type parameters to a type that is neither; the name's arguments are bound. */
  expand(bound: Bound): Bound {
    let { type, scope } = bound;
    for (let i = 0; i < deepest; i++) {
      if (type.kind === "parenthesized") {
        type = type.value;
        continue;
      }
      if (type.kind !== "typeRef") break;
      const argument = this.#argument(type, scope);
      if (argument !== null) {
        ({ type, scope } = argument);
        continue;
      }
      const found = this.#declaration(type, scope);
      if (found === null || found.declaration.kind !== "typeAlias") break;
      scope = this.#scopeOf(found.declaration, found.file, type, scope);
      type = found.declaration.def.tsType;
    }
    return { type, scope };
  }

  /** The parts of a union, aliases of unions included. */
  options(bound: Bound): Bound[] {
    const { type, scope } = this.expand(bound);
    if (type.kind !== "union") return [{ type, scope }];
    return (type.value as DocType[]).flatMap((part) => {
      const own = this.expand({ type: part, scope });
      // A named object stays a name; only unions are opened.
      return own.type.kind === "union" ? this.options(own) : [{ type: part, scope }];
    });
  }

  #unchecked(where: string, message: string): Schema {
    this.#warn(where, message);
    return { "x-martlet-unchecked": message };
  }

  #schema(bound: Bound, where: string): Schema {
    const { type, scope } = bound;
    switch (type.kind) {
      case "keyword":
        return keyword(type.value);
      case "literal":
        return literal(type);
      case "parenthesized":
        return this.#schema({ type: type.value, scope }, where);
      case "array":
        return { type: "array", items: this.schema({ type: type.value, scope }, `${where}[]`) };
      case "tuple":
        return this.#tuple(type.value, scope, where);
      case "union":
        return this.#union(this.options(bound), where);
      case "typeOperator":
        if (type.value.operator === "readonly" || type.value.operator === "unique") {
          return this.#schema({ type: type.value.tsType, scope }, where);
        }
        return {
          type: "string",
          enum: [...this.#members({ type: type.value.tsType, scope }).properties.keys()],
        };
      case "intersection":
      case "typeLiteral":
      case "mapped":
        return this.#object(bound, where);
      case "indexedAccess":
        return this.#indexed(bound, where);
      case "optional":
        return this.#schema({ type: type.value, scope }, where);
      case "typeRef":
        return this.#named(bound, where);
      default:
        throw new Inexpressible(`the type ${type.repr || type.kind} cannot be expressed`);
    }
  }

  #tuple(parts: DocType[], scope: Scope, where: string): Schema {
    const prefix: Schema[] = [];
    let least = 0;
    let items: Schema | false = false;
    for (const part of parts) {
      if (part.kind === "rest") {
        const inner = this.expand({ type: part.value, scope });
        if (inner.type.kind !== "array") {
          throw new Inexpressible("a rest element in a tuple must be an array");
        }
        items = this.schema({ type: inner.type.value, scope: inner.scope }, `${where}[]`);
      } else if (items !== false) {
        throw new Inexpressible("elements after a rest element cannot be expressed");
      } else {
        if (part.kind !== "optional") least = prefix.length + 1;
        prefix.push(this.schema({ type: part, scope }, `${where}[${prefix.length}]`));
      }
    }
    return { type: "array", prefixItems: prefix, items, minItems: least };
  }

  #union(options: Bound[], where: string): Schema {
    const schemas: Schema[] = [];
    const values: unknown[] = [];
    const seen = new Set<string>();
    for (const option of options) {
      const expanded = this.expand(option);
      // `undefined` in a union is an optional value; JSON has no other way to say it.
      if (expanded.type.kind === "keyword" && expanded.type.value === "undefined") continue;
      const schema = this.schema(option, where);
      if (schema.const !== undefined) values.push(schema.const);
      else if (schema.enum !== undefined && schema.$ref === undefined) values.push(...schema.enum);
      else {
        const text = JSON.stringify(schema);
        if (!seen.has(text)) schemas.push(schema);
        seen.add(text);
      }
    }
    const unchecked = schemas.find((schema) => schema["x-martlet-unchecked"] !== undefined);
    if (unchecked !== undefined) return unchecked;
    if (values.length > 0) {
      const isBoth = values.includes(true) && values.includes(false);
      const others = isBoth ? values.filter((value) => typeof value !== "boolean") : values;
      if (isBoth) schemas.push({ type: "boolean" });
      if (others.length > 0) schemas.unshift(literals(others));
    }
    if (schemas.length === 1) return schemas[0]!;
    if (schemas.length === 0) throw new Inexpressible("the union has no value that JSON can hold");
    return this.#discriminated(schemas) ?? { anyOf: schemas };
  }

  /** A union of objects that differ in one literal property. */
  #discriminated(schemas: Schema[]): Schema | null {
    const objects = schemas.filter((schema) => schema.type !== "null");
    const resolved = objects.map((schema) =>
      schema.$ref === undefined ? schema : this.definitions[schema.$ref.split("/").pop()!] ?? {}
    );
    if (objects.length < 2 || !resolved.every((schema) => schema.type === "object")) return null;
    for (const name of Object.keys(resolved[0]!.properties ?? {})) {
      const tags = resolved.map((schema) =>
        schema.required?.includes(name) ? valuesOf(schema.properties?.[name]) : null
      );
      if (tags.some((values) => values === null)) continue;
      const all = (tags as unknown[][]).flat();
      if (new Set(all).size !== all.length) continue;
      const mapping: Record<string, string> = {};
      objects.forEach((schema, i) => {
        for (const value of tags[i]!) if (schema.$ref !== undefined) mapping[String(value)] = schema.$ref;
      });
      const hasNames = objects.every((schema) => schema.$ref !== undefined);
      return { oneOf: schemas, discriminator: { propertyName: name, ...(hasNames ? { mapping } : {}) } };
    }
    return null;
  }

  #indexed({ type, scope }: Bound, where: string): Schema {
    const members = this.#members({ type: type.value.objType, scope });
    const keys = this.#keys({ type: type.value.indexType, scope });
    const found = keys.map((key) => members.properties.get(key) ?? members.index);
    if (found.some((member) => member === null)) {
      throw new Inexpressible(`${type.repr || "an indexed type"} names a property that is not there`);
    }
    return found.length === 1 ? this.schema(found[0]!, where) : this.#union(found as Bound[], where);
  }

  // MARK: Objects

  #object(bound: Bound, where: string): Schema {
    const members = this.#members(bound);
    const properties: Record<string, Schema> = {};
    const required: string[] = [];
    for (const [name, member] of members.properties) {
      const place = `${where}.${name}`;
      const own = this.schema(member, place);
      const added = constraints(member.comment, (message) => this.#warn(place, message));
      Object.defineProperty(properties, name, {
        value: merge(own, added),
        enumerable: true,
        configurable: true,
        writable: true,
      });
      const canBeMissing = member.isOptional ||
        this.options(member).some(({ type }) => type.kind === "keyword" && type.value === "undefined");
      // What cannot be checked is not asked for either: a function never comes as JSON.
      if (!canBeMissing && own["x-martlet-unchecked"] === undefined) required.push(name);
    }
    return {
      type: "object",
      properties,
      ...(required.length === 0 ? {} : { required }),
      ...(members.index === null ? {} : { additionalProperties: this.schema(members.index, `${where}[]`) }),
    };
  }

  /** The properties of an object type, whatever it is written as. */
  #members(bound: Bound): Members {
    if (this.#depth >= deepest) throw new Inexpressible("the type is nested without end");
    this.#depth += 1;
    try {
      return this.#membersOf(this.expand(bound));
    } finally {
      this.#depth -= 1;
    }
  }

  #membersOf({ type, scope }: Bound): Members {
    switch (type.kind) {
      case "typeLiteral":
        return this.#literalMembers(type.value, scope);
      case "intersection":
        return mergeMembers((type.value as DocType[]).map((part) => this.#members({ type: part, scope })));
      case "mapped":
        return this.#mapped(type.value, scope);
      case "typeRef": {
        const utility = this.#utility(type, scope);
        if (utility !== null) return utility;
        const found = this.#declaration(type, scope);
        if (found?.declaration.kind === "interface") {
          const inner = this.#scopeOf(found.declaration, found.file, type, scope);
          const { def } = found.declaration;
          const bases = (def.extends ?? []) as DocType[];
          return mergeMembers([
            ...bases.map((base) => this.#members({ type: base, scope: inner })),
            this.#literalMembers(def, inner),
          ]);
        }
        throw new Inexpressible(describeReference(type, found?.declaration));
      }
      default:
        throw new Inexpressible(`${type.repr || type.kind} is no object type`);
    }
  }

  #literalMembers(def: any, scope: Scope): Members {
    if ((def.methods?.length ?? 0) > 0 || (def.callSignatures?.length ?? 0) > 0) {
      throw new Inexpressible("an object with methods cannot come as JSON");
    }
    const properties = new Map<string, Member>();
    for (const property of (def.properties ?? []) as DocProperty[]) {
      properties.set(property.name, {
        type: property.tsType ?? { kind: "keyword", value: "any" },
        scope,
        isOptional: property.optional ?? false,
        comment: property.jsDoc,
      });
    }
    const index = def.indexSignatures?.[0]?.tsType;
    return { properties, index: index === undefined ? null : { type: index, scope } };
  }

  #mapped(value: any, scope: Scope): Members {
    const properties = new Map<string, Member>();
    let index: Bound | null = null;
    const make = (key: DocType): Bound => {
      const inner: Scope = { file: scope.file, arguments: new Map(scope.arguments) };
      inner.arguments.set(value.typeParam.name, { type: key, scope });
      return { type: value.tsType ?? { kind: "keyword", value: "any" }, scope: inner };
    };
    const constraint: Bound = { type: value.typeParam.constraint, scope };
    if (this.expand(constraint).type.kind === "keyword") {
      index = make({ kind: "keyword", value: "string", repr: "string" });
    } else {
      for (const key of this.#keys(constraint)) {
        const type: DocType = { kind: "literal", repr: key, value: { kind: "string", string: key } };
        properties.set(key, {
          ...make(type),
          isOptional: value.optional === true || value.optional === "+" || value.optional === "plus",
          comment: undefined,
        });
      }
    }
    return { properties, index };
  }

  /** The texts of a union of literals, or of `keyof`. */
  #keys(bound: Bound): string[] {
    return this.options(bound).flatMap((option) => {
      const { type, scope } = this.expand(option);
      if (type.kind === "literal" && type.value.kind === "string") return [type.value.string as string];
      if (type.kind === "literal" && type.value.kind === "number") return [String(type.value.number)];
      if (type.kind === "typeOperator" && type.value.operator === "keyof") {
        return [...this.#members({ type: type.value.tsType, scope }).properties.keys()];
      }
      throw new Inexpressible(`the keys ${type.repr || type.kind} are not known before the program runs`);
    });
  }

  /** TypeScript's own types that make an object of an object; `null` for others. */
  #utility(type: DocType, scope: Scope): Members | null {
    const { typeName, typeParams = [], resolution } = type.value;
    if (resolution !== undefined) return null;
    const [first, second] = (typeParams as DocType[]).map((part) => ({ type: part, scope }));
    if (first === undefined) return null;
    const change = (members: Members, edit: (member: Member) => Member): Members => ({
      properties: new Map([...members.properties].map(([name, member]) => [name, edit(member)])),
      index: members.index,
    });
    switch (typeName) {
      case "Readonly":
        return this.#members(first);
      case "Partial":
        return change(this.#members(first), (member) => ({ ...member, isOptional: true }));
      case "Required":
        return change(this.#members(first), (member) => ({ ...member, isOptional: false }));
      case "Pick":
      case "Omit": {
        if (second === undefined) return null;
        const keys = new Set(this.#keys(second));
        const members = this.#members(first);
        const kept = [...members.properties].filter(([name]) => keys.has(name) === (typeName === "Pick"));
        return { properties: new Map(kept), index: typeName === "Omit" ? members.index : null };
      }
      case "Record": {
        if (second === undefined) return null;
        if (this.expand(first).type.kind === "keyword") return { properties: new Map(), index: second };
        const made = this.#keys(first).map((
          key,
        ): [string, Member] => [key, { ...second, isOptional: false, comment: undefined }]);
        return { properties: new Map(made), index: null };
      }
      default:
        return null;
    }
  }

  // MARK: Names

  #named(bound: Bound, where: string): Schema {
    const { type, scope } = bound;
    const argument = this.#argument(type, scope);
    if (argument !== null) return this.#schema(argument, where);
    const { typeName, typeParams = [], resolution } = type.value;
    const found = this.#declaration(type, scope);
    if (found === null) {
      if (resolution !== undefined) throw new Inexpressible(`the declaration of ${typeName} was not found`);
      return this.#global(
        typeName,
        (typeParams as DocType[]).map((part) => ({ type: part, scope })),
        bound,
        where,
      );
    }
    const { declaration, file } = found;
    if (declaration.kind === "enum") {
      return this.#define(declaration, file, typeName, "", () => enumeration(declaration));
    }
    if (declaration.kind !== "interface" && declaration.kind !== "typeAlias") {
      // `Color.Red`: a member of an enum.
      throw new Inexpressible(describeReference(type, declaration));
    }
    // Types with arguments are one definition for each choice of arguments.
    const inner = this.#scopeOf(declaration, file, type, scope);
    const suffix = [...inner.arguments].map(([, value]) => this.#label(value)).join("_");
    const name = declaredName(type);
    return this.#define(declaration, file, name, suffix, () => {
      const body = declaration.kind === "interface"
        ? this.#object({ type: { ...type, value: { ...type.value } }, scope }, name)
        : this.#schema({ type: declaration.def.tsType, scope: inner }, name);
      return merge(body, constraints(declaration.jsDoc, (message) => this.#warn(name, message)));
    });
  }

  #define(
    declaration: DocDeclaration,
    file: string,
    name: string,
    suffix: string,
    make: () => Schema,
  ): Schema {
    const key = `${file}:${declaration.location.line}:${declaration.location.col} ${suffix}`;
    const known = this.#names.get(key);
    if (known !== undefined) return { $ref: `#/components/schemas/${known}` };
    const base = (suffix === "" ? name : `${name}_${suffix}`).replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 80);
    let unique = base;
    for (let i = 2; unique in this.definitions || unique === "Problem"; i++) unique = `${base}_${i}`;
    this.#names.set(key, unique);
    this.definitions[unique] = anything();
    try {
      const made = make();
      this.definitions[unique] = made;
      // A name for nothing but another name would make documents longer and say no more.
      if (made.$ref === `#/components/schemas/${unique}`) {
        throw new Inexpressible(`${name} is defined by itself`);
      }
    } catch (error) {
      if (!(error instanceof Inexpressible)) throw error;
      this.definitions[unique] = this.#unchecked(name, error.message);
    }
    return { $ref: `#/components/schemas/${unique}` };
  }

  /** A short name of a type argument; types that differ get names that differ. */
  #label(bound: Bound): string {
    const schema = this.schema(bound, "a type argument");
    if (schema.$ref !== undefined) return schema.$ref.split("/").pop()!;
    const text = JSON.stringify(schema);
    if (schema.type !== undefined && Object.keys(schema).length === 1) return schema.type;
    let hash = 5381;
    for (let i = 0; i < text.length; i++) hash = (hash * 33 + text.charCodeAt(i)) >>> 0;
    return `${schema.type ?? "type"}${hash.toString(36)}`;
  }

  #global(name: string, parts: Bound[], bound: Bound, where: string): Schema {
    const [first, second] = parts;
    switch (name) {
      case "Date":
        return { type: "string", format: "date-time", "x-martlet-type": "Date" };
      case "Array":
      case "ReadonlyArray":
        if (first !== undefined) return { type: "array", items: this.schema(first, `${where}[]`) };
        break;
      case "Promise":
      case "Awaited":
        if (first !== undefined) return this.schema(first, where);
        break;
      case "Readonly":
        // Also of arrays and primitives.
        if (first !== undefined && !isObjectLike(this.expand(first).type)) return this.schema(first, where);
        break;
      case "NonNullable":
        if (first !== undefined) {
          return this.#union(this.options(first).filter(({ type }) => !isNullish(type)), where);
        }
        break;
      case "Exclude":
      case "Extract":
        if (first !== undefined && second !== undefined) {
          const other = new Set(
            this.options(second).map((option) => JSON.stringify(this.schema(option, where))),
          );
          const kept = this.options(first).filter((option) =>
            other.has(JSON.stringify(this.schema(option, where))) === (name === "Extract")
          );
          return this.#union(kept, where);
        }
        break;
      case "Uppercase":
      case "Lowercase":
      case "Capitalize":
      case "Uncapitalize":
        break;
      case "Object":
      case "unknown":
        return anything();
    }
    return this.#object(bound, where);
  }

  #argument(type: DocType, scope: Scope): Bound | null {
    if (type.kind !== "typeRef") return null;
    return scope.arguments.get(type.value.typeName) ?? null;
  }

  #scopeOf(declaration: DocDeclaration, file: string, type: DocType, outer: Scope): Scope {
    const parameters = (declaration.def.typeParams ?? []) as {
      name: string;
      default?: DocType;
      constraint?: DocType;
    }[];
    const given = (type.value.typeParams ?? []) as DocType[];
    const scope: Scope = { file, arguments: new Map() };
    parameters.forEach((parameter, i) => {
      if (given[i] !== undefined) scope.arguments.set(parameter.name, { type: given[i]!, scope: outer });
      else {scope.arguments.set(parameter.name, {
          type: parameter.default ?? { kind: "keyword", value: "unknown" },
          scope,
        });}
    });
    return scope;
  }

  #declaration(type: DocType, scope: Scope): { declaration: DocDeclaration; file: string } | null {
    const { resolution, typeName } = type.value;
    if (resolution?.kind === "local") return this.#lookUp(scope.file, typeName, new Set());
    if (resolution?.kind === "import") {
      const file = resolveSpecifier(resolution.specifier, scope.file);
      return this.#lookUp(file, resolution.name ?? typeName.slice(typeName.indexOf(".") + 1), new Set());
    }
    return null;
  }

  /** Finds a type in a file, and through what the file exports of others. */
  #lookUp(
    file: string,
    name: string,
    seen: Set<string>,
  ): { declaration: DocDeclaration; file: string } | null {
    const node = this.#doc.nodes[file];
    if (node === undefined || seen.has(file)) return null;
    seen.add(file);
    for (const symbol of node.symbols) {
      if (symbol.name !== name && !(name === "default" && symbol.isDefault)) continue;
      const typeKinds = new Set(["interface", "typeAlias", "enum", "class"]);
      for (const declaration of symbol.declarations) {
        if (typeKinds.has(declaration.kind)) return { declaration, file: declaration.location.filename };
        if (declaration.kind === "reference") {
          const target = declaration.def?.target ?? declaration.def;
          if (typeof target?.filename === "string") return this.#lookUp(target.filename, name, seen);
        }
      }
    }
    for (const { importedName, originalName, src } of node.imports ?? []) {
      if (importedName !== name) continue;
      const found = this.#lookUp(resolveSpecifier(src, file), originalName ?? name, seen);
      if (found !== null) return found;
    }
    return null;
  }
}

function resolveSpecifier(specifier: string, file: string): string {
  return /^(?:\.{0,2}\/|[a-z]+:)/.test(specifier) ? new URL(specifier, file).href : specifier;
}

function declaredName(type: DocType): string {
  const { typeName, resolution } = type.value;
  return resolution?.name !== undefined && resolution.name !== "default"
    ? resolution.name
    : typeName.split(".").pop();
}

function describeReference(type: DocType, declaration: DocDeclaration | undefined): string {
  const name = type.value?.typeName ?? type.repr;
  if (declaration?.kind === "class") return `${name} is a class; its instances cannot come as JSON`;
  return `${name} cannot be expressed in JSON Schema`;
}

function keyword(name: string): Schema {
  switch (name) {
    case "string":
    case "number":
    case "boolean":
    case "null":
      return { type: name };
    case "bigint":
      return { type: "string", pattern: "^-?[0-9]+$", "x-martlet-type": "bigint" };
    case "any":
    case "unknown":
      return anything();
    case "object":
      return { type: "object", additionalProperties: {} };
    default:
      throw new Inexpressible(`${name} is no value that JSON can hold`);
  }
}

function literal(type: DocType): Schema {
  const { value } = type;
  switch (value.kind) {
    case "string":
      return { type: "string", const: value.string };
    case "number":
      return { type: "number", const: value.number };
    case "boolean":
      return { type: "boolean", const: value.boolean };
    case "template":
      return { type: "string", pattern: templatePattern(value.tsTypes) };
    default:
      throw new Inexpressible(`the literal ${type.repr || value.kind} cannot be expressed`);
  }
}

/** `x-${number}` as a regular expression. */
function templatePattern(parts: DocType[]): string {
  const text = parts.map((part) => {
    if (part.kind === "literal" && part.value.kind === "string") {
      return (part.value.string as string).replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
    }
    if (part.kind === "keyword" && part.value === "string") return "[\\s\\S]*";
    if (part.kind === "keyword" && part.value === "number") return "-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?";
    throw new Inexpressible("a template with other parts than string and number cannot be expressed");
  });
  return `^${text.join("")}$`;
}

function enumeration(declaration: DocDeclaration): Schema {
  let next = 0;
  const values = (declaration.def.members as { name: string; init?: DocType }[]).map(({ name, init }) => {
    if (init === undefined) return next++;
    if (init.kind === "literal" && init.value.kind === "string") return init.value.string as string;
    if (init.kind === "literal" && init.value.kind === "number") {
      next = (init.value.number as number) + 1;
      return init.value.number as number;
    }
    throw new Inexpressible(`the value of ${name} is computed`);
  });
  return literals(values);
}

function literals(values: unknown[]): Schema {
  const unique = [...new Set(values)];
  const types = new Set(unique.map((value) => typeof value));
  const type = types.size === 1 ? [...types][0] as "string" | "number" | "boolean" : undefined;
  return { ...(type === undefined ? {} : { type }), enum: unique };
}

function valuesOf(schema: Schema | undefined): unknown[] | null {
  return schema?.enum ?? (schema?.const === undefined ? null : [schema.const]);
}

function isNullish(type: DocType): boolean {
  return type.kind === "keyword" && (type.value === "null" || type.value === "undefined");
}

function isObjectLike(type: DocType): boolean {
  return !["keyword", "literal", "array", "tuple", "union"].includes(type.kind);
}

function mergeMembers(parts: Members[]): Members {
  const properties = new Map<string, Member>();
  let index: Bound | null = null;
  for (const part of parts) {
    for (const [name, member] of part.properties) {
      const before = properties.get(name);
      properties.set(
        name,
        before === undefined ? member : { ...member, isOptional: before.isOptional && member.isOptional },
      );
    }
    index = part.index ?? index;
  }
  return { properties, index };
}

/** Adds what a comment says to a schema; beside a reference it stands next to it (2020-12 allows that). */
export function merge(schema: Schema, added: Schema): Schema {
  if (Object.keys(added).length === 0) return schema;
  return {
    ...schema,
    ...added,
    ...(schema.type !== undefined && added.type === "integer" && schema.type !== "number"
      ? { type: schema.type }
      : {}),
  };
}
