import { type Context, PlainContext } from "./context.ts";
import { HttpError } from "./http_error.ts";
import { QueryReader } from "./query.ts";
import { decode } from "./router.ts";
import type { HandlerSchema, Schema, SpecialType } from "./schema.ts";
import { parameterNames } from "./signature.ts";
import { expectation, type Fault, type Validator, type ValidatorCompiler } from "./validate.ts";

/** The request as the binding needs it. */
export interface Incoming {
  request: Request;
  /** What the path has for the names of the pattern, in their order and percent-encoded. */
  values: readonly string[];
  /** The part of the URL after `?`. */
  query: string;
  /** `null` for the standard one, which is made when it is asked for. */
  context: Context | null;
  socket: WebSocket | null;
}

/** Where a parameter's value comes from. */
export type Source = "path" | "query" | "body" | "whole-body" | SpecialType;

/** One parameter, ready to be bound. */
export interface BoundParameter {
  name: string;
  source: Source;
  /** Which of the pattern's names it is, where it comes from the path. */
  index: number;
  isRequired: boolean;
  isList: boolean;
  expected: string;
  schema: Schema | null;
  text: Validator | null;
  json: Validator | null;
}

/** The request's input is not as the types say: answered with 400 that names each fault. */
export class InputError extends HttpError {
  constructor(faults: Fault[]) {
    const first = faults[0]!;
    const more = faults.length === 1 ? "" : `, and ${faults.length - 1} more`;
    super(400, `${first.path}: expected ${first.expected}, got ${first.got}${more}`, {
      details: { errors: faults },
    });
  }
}

/** What a parameter without a type may be called to get a part of the request. */
const specialNames: Record<string, SpecialType> = {
  request: "Request",
  req: "Request",
  headers: "Headers",
  context: "Context",
  ctx: "Context",
  socket: "WebSocket",
  ws: "WebSocket",
};

/** Says for each parameter of a handler where its value comes from. */
export function planParameters(
  method: string,
  pathNames: readonly string[],
  handler: (...args: any[]) => unknown,
  schema: HandlerSchema | null,
  compiler: ValidatorCompiler,
): BoundParameter[] {
  const described = schema?.parameters ?? parameterNames(handler).map((name) => ({
    name: name ?? "",
    required: false,
    schema: {} as Schema,
    special: name === null ? undefined : specialNames[name],
  }));
  const hasBody = method === "POST" || method === "PUT" || method === "PATCH";
  const isInBody = (name: string, special: SpecialType | undefined) =>
    hasBody && special === undefined && !pathNames.includes(name);
  const inBody = described.filter(({ name, special }) => isInBody(name, special));
  return described.map(({ name, required, schema: own, special }) => {
    const target = compiler.resolve(own);
    let source: Source;
    if (special !== undefined) source = special;
    else if (pathNames.includes(name)) source = "path";
    else if (!hasBody) source = "query";
    else {source = inBody.length === 1 && (schema === null || isCompound(target, compiler))
        ? "whole-body"
        : "body";}
    const isChecked = schema !== null && special === undefined;
    return {
      name,
      source,
      index: pathNames.indexOf(name),
      isRequired: required || source === "path",
      isList: target.type === "array",
      expected: expectation(target),
      schema: schema === null ? null : own,
      text: isChecked ? compiler.compile(own, true) : null,
      json: isChecked ? compiler.compile(own) : null,
    };
  });
}

/** Whether values of the type are objects or arrays: then a lone parameter is the body itself. */
function isCompound(schema: Schema, compiler: ValidatorCompiler): boolean {
  const options = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (options !== undefined) return options.some((option) => isCompound(compiler.resolve(option), compiler));
  if (schema.type === undefined) return schema.enum === undefined && schema.const === undefined;
  return schema.type === "object" || schema.type === "array";
}

/** Gives a handler its arguments. */
export interface Binding {
  /** Whether the body has to be read first. */
  needsBody: boolean;
  /** The arguments; throws `InputError`. */
  bind(incoming: Incoming, body: Body | null): unknown[];
}

/** Makes what binds the parameters; each gets a function of its own, chosen now and not at each request. */
export function compileBinding(parameters: readonly BoundParameter[]): Binding {
  const readers = parameters.map(readerOf);
  const needsQuery = parameters.some(({ source }) => source === "query");
  return {
    needsBody: parameters.some(({ source }) => source === "body" || source === "whole-body"),
    bind(incoming, body) {
      const faults: Fault[] = [];
      const query = needsQuery ? new QueryReader(incoming.query) : null;
      const args = new Array<unknown>(readers.length);
      for (let i = 0; i < readers.length; i++) args[i] = readers[i]!(incoming, query!, body!, faults);
      if (faults.length > 0) throw new InputError(faults);
      return args;
    },
  };
}

/**
 * Whether the body is what most are, JSON of a known and permitted length: `request.json()` can read it at once, and
 * nothing more has to be asked.
 */
export function isPlainJSON(request: Request, mostBytes: number): boolean {
  const { headers } = request;
  if (headers.get("content-type") !== "application/json") return false;
  const declared = headers.get("content-length");
  return declared !== null && declared !== "0" && Number(declared) <= mostBytes;
}

/** The error of a body that is not what its type says. */
export function noJSON(error: unknown): HttpError {
  return new HttpError(400, `the body is no JSON: ${(error as Error).message}`);
}

type Reader = (incoming: Incoming, query: QueryReader, body: Body, faults: Fault[]) => unknown;

/** The function that reads one parameter. */
function readerOf(parameter: BoundParameter): Reader {
  const { name, text, json, index } = parameter;
  switch (parameter.source) {
    case "Request":
      return ({ request }) => request;
    case "Headers":
      return ({ request }) => request.headers;
    case "URL":
      return ({ request }) => new URL(request.url);
    case "Context":
      return (incoming) => incoming.context ??= new PlainContext();
    case "WebSocket":
      return ({ socket }) => socket;
    case "path":
      return ({ values }, _query, _body, faults) => check(parameter, text, decode(values[index]!), faults);
    case "query":
      if (!parameter.isList) {
        return (_incoming, query, _body, faults) => check(parameter, text, query.get(name), faults);
      }
      return (_incoming, query, _body, faults) => {
        // `?tag=a&tag=b`, or one JSON array.
        const values = query.getAll(name);
        const isJSON = values.length === 1 && values[0]!.startsWith("[");
        const value = isJSON ? values[0] : values.length === 0 ? undefined : values;
        return check(parameter, text, value, faults);
      };
    case "whole-body":
      return (_incoming, _query, body, faults) =>
        check(parameter, body.isText ? text : json, body.value, faults);
    case "body":
      return (_incoming, _query, { value: fields, isText }, faults) => {
        if (fields === undefined) return check(parameter, json, undefined, faults);
        if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
          const got = fields === null ? "null" : `${typeof fields}`;
          faults.push({ path: "body", expected: `an object with ${name}`, got });
          return undefined;
        }
        const value = Object.hasOwn(fields, name) ? (fields as Record<string, unknown>)[name] : undefined;
        return check(parameter, isText ? text : json, value, faults);
      };
  }
}

function check(
  parameter: BoundParameter,
  validator: Validator | null,
  value: unknown,
  faults: Fault[],
): unknown {
  if (value === undefined) {
    if (parameter.isRequired) {
      faults.push({ path: parameter.name, expected: parameter.expected, got: "nothing" });
    }
    return undefined;
  }
  return validator === null ? value : validator(value, parameter.name, faults);
}

/** A body that was read: its value, and whether its parts are text (a form). */
export interface Body {
  value: unknown;
  isText: boolean;
}

/** Reads the body of a request, at most `mostBytes` of it. Throws `HttpError`. */
export async function readBody(request: Request, mostBytes: number): Promise<Body> {
  const { headers } = request;
  const type = headers.get("content-type") ?? "";
  const kind = type === "application/json" ? type : type.split(";", 1)[0]!.trim().toLowerCase();
  if (kind === "" || kind === "application/json" || kind.endsWith("+json")) {
    const declared = headers.get("content-length");
    if (declared === "0") return { value: undefined, isText: false };
    try {
      // The short way where the length is known.
      if (declared !== null && Number(declared) <= mostBytes) {
        return { value: await request.json(), isText: false };
      }
      const text = await readText(request, mostBytes);
      return { value: text === "" ? undefined : JSON.parse(text), isText: false };
    } catch (error) {
      if (error instanceof HttpError) throw error;
      throw noJSON(error);
    }
  }
  if (kind === "application/x-www-form-urlencoded") {
    const fields = new URLSearchParams(await readText(request, mostBytes));
    return { value: collect(fields), isText: true };
  }
  if (kind === "multipart/form-data") {
    if (Number(request.headers.get("content-length") ?? Infinity) > mostBytes) throw tooLarge(mostBytes);
    try {
      return { value: collect(await request.formData()), isText: true };
    } catch {
      throw new HttpError(400, "the body is no multipart/form-data");
    }
  }
  throw new HttpError(415, `the body is ${kind}; application/json or a form is needed`);
}

function collect(fields: Iterable<[string, unknown]>): Record<string, unknown> {
  const made: Record<string, unknown> = Object.create(null);
  for (const [name, value] of fields) {
    const before = made[name];
    made[name] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
  }
  return made;
}

function tooLarge(mostBytes: number): HttpError {
  return new HttpError(413, `the body is larger than ${mostBytes} bytes`);
}

async function readText(request: Request, mostBytes: number): Promise<string> {
  const declared = request.headers.get("content-length");
  if (declared !== null) {
    if (Number(declared) > mostBytes) throw tooLarge(mostBytes);
    return await request.text();
  }
  if (request.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.length;
    if (size > mostBytes) throw tooLarge(mostBytes);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
