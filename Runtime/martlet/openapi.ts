import type { BoundParameter } from "./binding.ts";
import type { HandlerSchema, Schema, SchemaFile } from "./schema.ts";

/** A route as documents show it. */
export interface RouteDescription {
  method: string;
  pattern: string;
  name: string;
  schema: HandlerSchema | null;
  parameters: BoundParameter[];
}

/** The OpenAPI 3.1 description of an app's routes. */
export function openAPI(
  routes: RouteDescription[],
  file: SchemaFile,
  title: string,
  origin: string,
): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  const identifiers = new Set<string>();
  for (const route of routes) {
    if (route.method === "WS") continue;
    const path = route.pattern.replace(/[:*]([\w$]+)/g, "{$1}");
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(route, identifiers);
  }
  return {
    openapi: "3.1.0",
    info: { title, version: (Deno.env.get("MARTLET_VERSION") || "dev").slice(0, 12) },
    servers: [{ url: origin }],
    paths,
    components: { schemas: { ...file.definitions, Problem: problemSchema } },
  };
}

const problemSchema = {
  type: "object",
  description: "What went wrong (RFC 9457).",
  properties: {
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    errors: {
      type: "array",
      description: "Each value that is not as its type says.",
      items: {
        type: "object",
        properties: { path: { type: "string" }, expected: { type: "string" }, got: { type: "string" } },
        required: ["path", "expected", "got"],
      },
    },
  },
  required: ["title", "status", "detail"],
};

function operation(route: RouteDescription, identifiers: Set<string>): Record<string, unknown> {
  const { schema, parameters } = route;
  const described = new Map(schema?.parameters.map(({ name, description }) => [name, description]));
  const inURL = parameters.filter(({ source }) => source === "path" || source === "query").map((
    parameter,
  ) => ({
    name: parameter.name,
    in: parameter.source,
    required: parameter.isRequired,
    ...(described.get(parameter.name) === undefined ? {} : { description: described.get(parameter.name) }),
    schema: parameter.schema ?? { type: "string" },
  }));
  // Parameters of the path that the handler does not ask for are still part of the path.
  for (const [, name] of route.pattern.matchAll(/[:*]([\w$]+)/g)) {
    if (!inURL.some((parameter) => parameter.in === "path" && parameter.name === name)) {
      inURL.push({ name: name!, in: "path", required: true, schema: { type: "string" } });
    }
  }
  const base = route.name !== "" && /^[\w$]+$/.test(route.name)
    ? route.name
    : `${route.method} ${route.pattern}`.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/_$/, "");
  let operationId = base;
  for (let i = 2; identifiers.has(operationId); i++) operationId = `${base}_${i}`;
  identifiers.add(operationId);
  const body = bodySchema(parameters);
  return {
    operationId,
    ...(schema?.summary === undefined ? {} : { summary: schema.summary }),
    ...(schema?.description === undefined ? {} : { description: schema.description }),
    ...(schema?.deprecated ? { deprecated: true } : {}),
    ...(inURL.length === 0 ? {} : { parameters: inURL }),
    ...(body === null ? {} : {
      requestBody: { required: body.isRequired, content: { "application/json": { schema: body.schema } } },
    }),
    responses: responses(route, inURL.length > 0 || body !== null),
  };
}

function bodySchema(parameters: BoundParameter[]): { schema: Schema; isRequired: boolean } | null {
  const whole = parameters.find(({ source }) => source === "whole-body");
  if (whole !== undefined) return { schema: whole.schema ?? {}, isRequired: whole.isRequired };
  const parts = parameters.filter(({ source }) => source === "body");
  if (parts.length === 0) return null;
  const required = parts.filter(({ isRequired }) => isRequired).map(({ name }) => name);
  return {
    schema: {
      type: "object",
      properties: Object.fromEntries(parts.map(({ name, schema }) => [name, schema ?? {}])),
      ...(required.length === 0 ? {} : { required }),
    },
    isRequired: required.length > 0,
  };
}

function responses(route: RouteDescription, hasInput: boolean): Record<string, unknown> {
  const problems = (description: string) => ({
    description,
    content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
  });
  const returns = route.schema?.returns;
  const made: Record<string, unknown> = {};
  if (returns === undefined || returns.isResponse) {
    made.default = { description: "The answer; its type is not declared." };
  } else if (returns.isVoid) {
    made["204"] = { description: "Done." };
  } else if (returns.isStream) {
    made["200"] = {
      description: "Server-sent events.",
      // A schema here would be read as that of an event with all its fields, of which OpenAPI 3.1 knows nothing.
      content: {
        "text/event-stream": returns.schema === null ? {} : { "x-martlet-event": returns.schema },
      },
    };
  } else if (returns.schema === null) {
    made["200"] = { description: "The answer; its type is not declared." };
  } else {
    const type = returns.schema.type === "string" && returns.schema["x-martlet-type"] === undefined
      ? "text/plain"
      : "application/json";
    made["200"] = { description: "The answer.", content: { [type]: { schema: returns.schema } } };
  }
  if (returns?.isNullable) made["404"] = { ...problems("There is no such thing."), "x-martlet-null": true };
  // What a handler refuses by `HttpError`, whose statuses no type says.
  made.default ??= problems("The app refuses.");
  if (hasInput) {
    made["400"] = problems("The input is not as its types say.");
    if (route.parameters.some(({ source }) => source === "body" || source === "whole-body")) {
      made["413"] = problems("The body is too large.");
      made["415"] = problems("The body is neither JSON nor a form.");
    }
  }
  return made;
}
