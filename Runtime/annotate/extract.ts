import type {
  HandlerSchema,
  ParameterSchema,
  Schema,
  SchemaFile,
  SchemaWarning,
  SpecialType,
} from "../martlet/schema.ts";
import type { Doc, DocDeclaration, DocParameter, DocType } from "./doc.ts";
import { constraints, parameterComment, summary } from "./jsdoc.ts";
import { type Bound, merge, type Scope, TypeConverter } from "./types.ts";

const specials = new Set<string>(["Request", "Headers", "WebSocket", "Context", "URL"]);

/** Makes the schema file of an app from its documentation; `root` is the URL of the app's folder. */
export function extract(doc: Doc, root: string): SchemaFile {
  if (doc.version !== 2) throw new TypeError(`deno doc wrote version ${doc.version}; 2 is known`);
  const warnings: SchemaWarning[] = [];
  let place: { module: string; line: number; prefix: string } = { module: "", line: 0, prefix: "" };
  const converter = new TypeConverter(doc, (where, message) => {
    const warning: SchemaWarning = {
      module: place.module,
      line: place.line,
      where: `${place.prefix}${where})`,
      message,
    };
    if (!warnings.some((other) => JSON.stringify(other) === JSON.stringify(warning))) warnings.push(warning);
  });
  const handlers: HandlerSchema[] = [];
  for (const [file, node] of Object.entries(doc.nodes)) {
    if (!file.startsWith(root)) continue;
    for (const symbol of node.symbols) {
      const declarations = symbol.declarations.filter(({ kind, location }) =>
        kind === "function" && location.filename === file
      );
      if (declarations.length === 0) continue;
      const declaration = declarations[0]!;
      const module = decodeURIComponent(file.slice(root.length));
      // Of overloads the implementation is not documented: they are not bound.
      if (declarations.length > 1) {
        warnings.push({
          module,
          line: lineOf(declaration),
          where: symbol.name,
          message: "a function with overloads has no types to check",
        });
        continue;
      }
      place = { module, line: lineOf(declaration), prefix: `${symbol.name}(` };
      if ((declaration.def.typeParams?.length ?? 0) > 0) {
        warnings.push({
          module,
          line: place.line,
          where: symbol.name,
          message: "a generic function has no types to check",
        });
        continue;
      }
      const handler = extractHandler(symbol.name, module, declaration, file, converter);
      if (handler !== null) handlers.push(handler);
    }
  }
  return { version: 1, handlers, definitions: converter.definitions, warnings };
}

function extractHandler(
  name: string,
  module: string,
  declaration: DocDeclaration,
  file: string,
  converter: TypeConverter,
): HandlerSchema | null {
  const scope: Scope = { file, arguments: new Map() };
  const parameters: ParameterSchema[] = [];
  const declared = (declaration.def.params ?? []) as DocParameter[];
  // A function without any type is bound by the names of its parameters, with the values as they come.
  const returns = extractReturn(
    declaration.def.returnType,
    scope,
    converter,
    declaration.def.isGenerator === true && declaration.def.isAsync === true,
  );
  const hasTypes = declared.some((parameter) =>
    typeOf(parameter) !== undefined || parameter.kind === "assign"
  );
  if (declared.length > 0 && !hasTypes) return null;
  if (declared.length === 0 && declaration.def.returnType === undefined) return null;
  for (const parameter of declared) {
    const made = extractParameter(parameter, declaration, scope, converter);
    if (made === null) return null;
    parameters.push(made);
  }
  return { name, module, ...summary(declaration.jsDoc), parameters, returns };
}

function typeOf(parameter: DocParameter): DocType | undefined {
  return parameter.tsType ?? parameter.left?.tsType ?? parameter.arg?.tsType;
}

function extractParameter(
  parameter: DocParameter,
  declaration: DocDeclaration,
  scope: Scope,
  converter: TypeConverter,
): ParameterSchema | null {
  const inner = parameter.kind === "assign" ? parameter.left! : parameter;
  if (inner.kind === "rest") return null;
  const name = inner.name ?? "";
  const type = typeOf(parameter);
  const special = type?.kind === "typeRef" && specials.has(type.value.typeName)
    ? type.value.typeName as SpecialType
    : undefined;
  if (special !== undefined) return { name, required: false, schema: {}, special };
  if (name === "") {
    // A destructured parameter is the whole body; its name is nobody's.
    return {
      name: "body",
      required: true,
      schema: type === undefined ? {} : converter.schema({ type, scope }, "body"),
    };
  }
  let schema: Schema;
  if (type !== undefined) schema = converter.schema({ type, scope }, name);
  else schema = parameter.kind === "assign" ? inferred(parameter.right ?? "") : {};
  const comment = parameterComment(declaration.jsDoc, name);
  const added = constraints(comment, () => {});
  const { description, ...limits } = added;
  schema = merge(schema, limits);
  const standard = parameter.kind === "assign" ? constant(parameter.right ?? "") : undefined;
  if (standard !== undefined && schema.default === undefined) schema = { ...schema, default: standard };
  const options = type === undefined ? [] : converter.options({ type, scope });
  const canBeMissing = options.some(({ type }) =>
    type.kind === "keyword" &&
    (type.value === "undefined" || type.value === "any" || type.value === "unknown")
  );
  const isRequired = parameter.kind !== "assign" && !(inner.optional ?? false) && !canBeMissing &&
    schema.default === undefined;
  return { name, required: isRequired, schema, ...(description === undefined ? {} : { description }) };
}

/** The type of `limit = 50`. */
function inferred(text: string): Schema {
  const value = constant(text);
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
    return { type: typeof value as "string" | "number" | "boolean" };
  }
  return {};
}

function constant(text: string): unknown {
  if (/^'[^'\\]*'$/.test(text)) return text.slice(1, -1);
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function extractReturn(
  type: DocType | undefined,
  scope: Scope,
  converter: TypeConverter,
  isAsyncGenerator: boolean,
): HandlerSchema["returns"] {
  const made = {
    schema: null as Schema | null,
    isNullable: false,
    isVoid: false,
    isResponse: false,
    isStream: isAsyncGenerator,
  };
  if (type === undefined) return made;
  let bound: Bound = { type, scope };
  const global = (names: string[]): Bound | null => {
    const { type, scope } = converter.expand(bound);
    if (
      type.kind !== "typeRef" || type.value.resolution !== undefined || !names.includes(type.value.typeName)
    ) return null;
    const first = type.value.typeParams?.[0];
    return first === undefined ? null : { type: first, scope };
  };
  const awaited = global(["Promise"]);
  if (awaited !== null) bound = awaited;
  const event = global(["AsyncIterable", "AsyncGenerator", "AsyncIterableIterator"]);
  if (event !== null) return { ...made, isStream: true, schema: converter.schema(event, "each event") };
  const options = converter.options(bound);
  const is = (kind: string, value: string) =>
    options.some(({ type }) =>
      type.kind === kind && (kind === "typeRef" ? type.value.typeName : type.value) === value
    );
  if (is("typeRef", "Response")) return { ...made, isResponse: true, isNullable: is("keyword", "null") };
  if (
    options.every(({ type }) =>
      type.kind === "keyword" && ["void", "undefined", "never"].includes(type.value)
    )
  ) {
    return { ...made, isVoid: true };
  }
  made.isNullable = is("keyword", "null");
  const values = options.filter(({ type }) =>
    !(type.kind === "keyword" && ["null", "undefined", "void"].includes(type.value))
  );
  if (values.length === 0) return { ...made, schema: { type: "null" } };
  // A declared name stays one where the whole type is it.
  const whole = values.length === options.length ? bound : null;
  made.schema = whole !== null
    ? converter.schema(whole, "the answer")
    : values.length === 1
    ? converter.schema(values[0]!, "the answer")
    : converter.schema({
      type: { kind: "union", value: values.map(({ type }) => type) },
      scope: values[0]!.scope,
    }, "the answer");
  return made;
}

/** The line of a declaration, from 1 on; `deno doc` counts from 0. */
function lineOf({ location }: { location: { line: number } }): number {
  return location.line + 1;
}
