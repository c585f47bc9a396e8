/**
 * Makes a typed client of an app from its OpenAPI description:
 *
 *     deno run --allow-read client.ts openapi.json > client.ts      (or the description on standard input)
 *
 * The client is one file without imports; it converts dates and big integers in both directions.
 */
import type { Schema } from "./martlet/schema.ts";

interface Media {
  schema?: Schema;
  "x-martlet-event"?: Schema;
}

interface Operation {
  operationId: string;
  summary?: string;
  description?: string;
  deprecated?: boolean;
  parameters?: {
    name: string;
    in: "path" | "query";
    required?: boolean;
    schema: Schema;
    description?: string;
  }[];
  requestBody?: { required?: boolean; content: Record<string, Media> };
  responses: Record<string, { content?: Record<string, Media>; "x-martlet-null"?: boolean }>;
}

/** The part of an OpenAPI description that a client is made of. */
export interface Description {
  info: { title: string };
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, Schema> };
}

const methods = new Set(["get", "head", "post", "put", "patch", "delete", "options"]);

/** The source of the client. */
export function generateClient(description: Description): string {
  const schemas = { ...description.components?.schemas };
  delete schemas.Problem;
  const types = Object.entries(schemas).map(([name, schema]) =>
    `${comment(schema.description)}export type ${identifier(name)} = ${typeOf(schema)};\n`
  );
  const taken = new Set(["constructor", "call", "events"]);
  const operations = Object.entries(description.paths).flatMap(([path, item]) =>
    Object.entries(item).filter(([method]) => methods.has(method)).map(([method, operation]) =>
      writeOperation(path, method, operation, taken)
    )
  );
  return [
    `// Made of the OpenAPI description of ${
      JSON.stringify(description.info.title)
    }; make it anew when the app changes.\n`,
    ...types,
    `const schemas: Record<string, unknown> = ${JSON.stringify(schemas)};\n`,
    runtime,
    `/** A client of the app at \`base\`. */\nexport class Client extends Caller {\n${
      operations.join("\n")
    }}\n`,
  ].join("\n");
}

function writeOperation(path: string, method: string, operation: Operation, taken: Set<string>): string {
  let name = identifier(operation.operationId);
  while (taken.has(name)) name += "_";
  taken.add(name);
  const parameters = operation.parameters ?? [];
  const media = operation.requestBody?.content["application/json"];
  const names = new Set(parameters.map((parameter) => parameter.name));
  let bodyName = "body";
  while (names.has(bodyName)) bodyName += "_";
  const fields = parameters.map((parameter) =>
    `${comment(parameter.description, "    ")}    ${key(parameter.name)}${parameter.required ? "" : "?"}: ${
      typeOf(parameter.schema)
    };\n`
  );
  if (media !== undefined) {
    fields.push(
      `    ${bodyName}${operation.requestBody!.required ? "" : "?"}: ${typeOf(media.schema ?? {})};\n`,
    );
  }
  const isOptional = parameters.every(({ required }) => !required) && !operation.requestBody?.required;
  const input = fields.length === 0 ? "" : `input: {\n${fields.join("")}  }${isOptional ? " = {}" : ""}`;
  const [status, answer] = Object.entries(operation.responses).find(([code]) => code.startsWith("2")) ??
    ["default", {}];
  const content = (answer as Operation["responses"][string]).content ?? {};
  const isNullable = operation.responses["404"]?.["x-martlet-null"] === true;
  const call = {
    method: method.toUpperCase(),
    path,
    inPath: parameters.filter((parameter) => parameter.in === "path").map((parameter) => parameter.name),
    inQuery: parameters.filter((parameter) => parameter.in === "query").map((parameter) => parameter.name),
    ...(media === undefined ? {} : { body: bodyName }),
    ...(isNullable ? { isNullable } : {}),
  };
  const event = content["text/event-stream"];
  const schema = content["application/json"]?.schema ?? content["text/plain"]?.schema;
  const about = comment(
    [operation.summary, operation.description].filter(Boolean).join("\n"),
    "  ",
    operation.deprecated,
  );
  const given = fields.length === 0 ? "{}" : "input";
  if (event !== undefined) {
    const type = typeOf(event["x-martlet-event"] ?? {});
    return `${about}  ${name}(${input}): AsyncGenerator<${type}> {\n    return this.events(${
      JSON.stringify(call)
    }, ${given}, ${JSON.stringify(event["x-martlet-event"] ?? {})}) as AsyncGenerator<${type}>;\n  }\n`;
  }
  const type = status === "204"
    ? "void"
    : schema === undefined
    ? "unknown"
    : typeOf(schema) + (isNullable ? " | null" : "");
  return `${about}  async ${name}(${input}): Promise<${type}> {\n    return await this.call(${
    JSON.stringify(call)
  }, ${given}, ${JSON.stringify(schema ?? {})}) as ${type};\n  }\n`;
}

/** A schema as a TypeScript type. */
export function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return identifier(schema.$ref.split("/").pop()!);
  if (schema["x-martlet-type"] !== undefined) return schema["x-martlet-type"];
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const options = schema.oneOf ?? schema.anyOf;
  if (options !== undefined) return options.map((option) => group(typeOf(option))).join(" | ");
  if (schema.allOf !== undefined) return schema.allOf.map((part) => group(typeOf(part))).join(" & ");
  switch (schema.type) {
    case "string":
    case "number":
    case "boolean":
    case "null":
      return schema.type;
    case "integer":
      return "number";
    case "array": {
      if (schema.prefixItems !== undefined) {
        const least = schema.minItems ?? 0;
        const parts = schema.prefixItems.map((part, i) => i < least ? typeOf(part) : `(${typeOf(part)})?`);
        if (schema.items) parts.push(`...${group(typeOf(schema.items))}[]`);
        return `[${parts.join(", ")}]`;
      }
      return schema.items ? `${group(typeOf(schema.items))}[]` : "unknown[]";
    }
    case "object": {
      const required = new Set(schema.required);
      const fields = Object.entries(schema.properties ?? {}).map(([name, property]) => {
        // Documents of answers and of requests are one: a value with a default may be left out.
        return `${comment(property.description, "  ")}${key(name)}${required.has(name) ? "" : "?"}: ${
          typeOf(property)
        }`;
      });
      if (schema.additionalProperties !== undefined) {
        fields.push(`[name: string]: ${fields.length > 0 ? "unknown" : typeOf(schema.additionalProperties)}`);
      }
      return fields.length === 0 ? "Record<string, never>" : `{ ${fields.join("; ")} }`;
    }
    case undefined:
      return "unknown";
  }
}

function group(type: string): string {
  return /[|&]/.test(type) ? `(${type})` : type;
}

function key(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}

function identifier(name: string): string {
  const clean = name.replace(/[^\w$]/g, "_");
  return /^\d/.test(clean) ? `_${clean}` : clean;
}

function comment(text: string | undefined, indent = "", isDeprecated = false): string {
  const lines = [
    ...(text ? text.replaceAll("*/", "* /").split("\n") : []),
    ...(isDeprecated ? ["@deprecated"] : []),
  ];
  if (lines.length === 0) return "";
  return lines.length === 1
    ? `${indent}/** ${lines[0]} */\n`
    : `${indent}/**\n${lines.map((line) => `${indent} * ${line}\n`).join("")}${indent} */\n`;
}

/** What every client has; it knows schemas only as far as values must be converted. */
const runtime = `/** An answer that is no success; \`problem\` is its document (RFC 9457), if it has one. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  constructor(readonly status: number, readonly problem: { title?: string; detail?: string; errors?: { path: string; expected: string; got: string }[] } | null, message: string) {
    super(message);
  }
}

/** Options of a client. */
export interface ClientOptions {
  headers?: Record<string, string>;
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

interface Call {
  method: string;
  path: string;
  inPath: string[];
  inQuery: string[];
  body?: string;
  isNullable?: boolean;
}

function resolve(schema: any): any {
  while (schema?.$ref !== undefined) schema = schemas[schema.$ref.split("/").pop()];
  return schema ?? {};
}

/** Makes dates and big integers of the text that stands for them in JSON. */
function revive(schema: any, value: any): any {
  schema = resolve(schema);
  if (value === null || value === undefined) return value;
  if (schema["x-martlet-type"] === "Date") return new Date(value);
  if (schema["x-martlet-type"] === "bigint") return BigInt(value);
  const options = schema.oneOf ?? schema.anyOf;
  if (options !== undefined) {
    const fitting = options.find((option: any) => fits(option, value));
    return fitting === undefined ? value : revive(fitting, value);
  }
  if (Array.isArray(value)) return value.map((item, i) => revive(schema.prefixItems?.[i] ?? schema.items, item));
  if (typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, revive(schema.properties?.[name] ?? schema.additionalProperties, part)]));
}

function fits(schema: any, value: any): boolean {
  schema = resolve(schema);
  if (schema.const !== undefined) return schema.const === value;
  if (schema.enum !== undefined) return schema.enum.includes(value);
  if (schema.oneOf ?? schema.anyOf) return (schema.oneOf ?? schema.anyOf).some((option: any) => fits(option, value));
  switch (schema.type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value) &&
        (schema.required ?? []).every((name: string) => name in value) &&
        Object.entries(schema.properties ?? {}).every(([name, part]) => !(name in value) || fits(part, value[name]));
    case "integer":
      return Number.isInteger(value);
    case undefined:
      return true;
    default:
      if (schema["x-martlet-type"] === "Date") return typeof value === "string" && !Number.isNaN(Date.parse(value));
      if (schema["x-martlet-type"] === "bigint") return typeof value === "string" && /^-?\\d+$/.test(value);
      return typeof value === schema.type;
  }
}

function toText(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  return typeof value === "object" && value !== null ? toJSON(value) : String(value);
}

function toJSON(value: unknown): string {
  return JSON.stringify(value, (_name, part) => typeof part === "bigint" ? String(part) : part);
}

class Caller {
  readonly #base: string;
  readonly #options: ClientOptions;

  constructor(base: string, options: ClientOptions = {}) {
    this.#base = base.replace(/\\/+$/, "");
    this.#options = options;
  }

  async #send(call: Call, input: Record<string, unknown>): Promise<Response> {
    const query = new URLSearchParams();
    for (const name of call.inQuery) {
      const value = input[name];
      if (Array.isArray(value)) for (const item of value) query.append(name, toText(item));
      else if (value !== undefined) query.append(name, toText(value));
    }
    const path = call.path.replace(/\\{([^}]+)\\}/g, (_all, name: string) => encodeURIComponent(toText(input[name])));
    const body = call.body === undefined ? undefined : input[call.body];
    const headers = { ...this.#options.headers, ...(body === undefined ? {} : { "content-type": "application/json" }) };
    const send = this.#options.fetch ?? ((url, init) => fetch(url, init));
    return await send(this.#base + path + (query.size > 0 ? "?" + query : ""), {
      method: call.method,
      headers,
      ...(body === undefined ? {} : { body: toJSON(body) }),
    });
  }

  async #fail(call: Call, response: Response): Promise<never> {
    const text = await response.text();
    let problem: any = null;
    try {
      problem = JSON.parse(text);
    } catch { /* No document. */ }
    throw new ClientError(response.status, problem, \`\${call.method} \${call.path}: \${response.status} \${problem?.detail ?? text.slice(0, 200)}\`);
  }

  protected async call(call: Call, input: object, schema: unknown): Promise<unknown> {
    const response = await this.#send(call, input as Record<string, unknown>);
    if (response.status === 404 && call.isNullable) {
      await response.body?.cancel();
      return null;
    }
    if (!response.ok) return await this.#fail(call, response);
    if (response.status === 204) return undefined;
    const type = response.headers.get("content-type") ?? "";
    return type.includes("json") ? revive(schema, await response.json()) : await response.text();
  }

  protected async *events(call: Call, input: object, schema: unknown): AsyncGenerator<unknown> {
    const response = await this.#send(call, input as Record<string, unknown>);
    if (!response.ok || response.body === null) return await this.#fail(call, response);
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        text += decoder.decode(value, { stream: true });
        for (let end = text.indexOf("\\n\\n"); end >= 0; end = text.indexOf("\\n\\n")) {
          const data = text.slice(0, end).split("\\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\\n");
          text = text.slice(end + 2);
          if (data !== "") yield revive(schema, JSON.parse(data));
        }
      }
    } finally {
      await reader.cancel();
    }
  }
}
`;

if (import.meta.main) {
  const [path] = Deno.args;
  const text = path === undefined
    ? await new Response(Deno.stdin.readable).text()
    : await Deno.readTextFile(path);
  let description: Description;
  try {
    description = JSON.parse(text);
    if (typeof description.paths !== "object") throw new TypeError("it has no paths");
  } catch (error) {
    console.error(
      `client: ${path ?? "standard input"} is no OpenAPI description: ${(error as Error).message}`,
    );
    Deno.exit(1);
  }
  console.log(generateClient(description));
}
