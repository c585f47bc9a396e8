import {
  type Binding,
  type Body,
  type BoundParameter,
  compileBinding,
  type Incoming,
  isPlainJSON,
  noJSON,
  planParameters,
  readBody,
} from "./binding.ts";
import { type Context, PlainContext } from "./context.ts";
import { checkCron } from "./cron.ts";
import { docsPage } from "./docs_page.ts";
import { HttpError, problem } from "./http_error.ts";
import { attachHooks } from "./internal/hooks.ts";
import { openAPI, type RouteDescription } from "./openapi.ts";
import { respond } from "./respond.ts";
import { parsePattern, RouteTree } from "./router.ts";
import type { HandlerSchema, SchemaFile } from "./schema.ts";
import { parameterNames } from "./signature.ts";
import { ValidatorCompiler } from "./validate.ts";

/** A function that answers a route; its parameters are bound by name. */
export type Handler = (...args: any[]) => unknown;

/** A function around handlers: it may answer itself, or change what `next` answers. */
export type Middleware = (
  request: Request,
  next: (request?: Request) => Promise<Response>,
  context: Context,
) => Response | Promise<Response>;

/** Routes such as `"GET /todos/:id": findTodo`; a key that is only a path holds a nested table. */
export interface RouteTable {
  [route: string]: Handler | [...Middleware[], Handler] | RouteTable;
}

/** Options of a table. */
export interface ServeOptions {
  /** Around every handler, the first one outermost. */
  use?: Middleware[];
  /** Title of the API page. Default: the app's name. */
  title?: string;
  /** `false` serves neither `/openapi.json` nor `/docs`. */
  docs?: boolean;
  /** The largest body that is read for a handler's parameters, in bytes. Default 8 MiB. */
  maxBodyBytes?: number;
}

/** What `serve` makes: an app for Martlet, `deno serve` and every other runtime with `fetch` handlers. */
export interface App {
  fetch(request: Request, env?: Record<string, string>, context?: Context): Response | Promise<Response>;
}

interface Route {
  method: string;
  pattern: string;
  handler: Handler;
  middleware: Middleware[];
  schema: HandlerSchema | null;
  parameters: BoundParameter[];
  binding: Binding;
}

const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS", "SSE"]);
/** Parameters that get a part of the request as it is: there is nothing to check. */
const specialSources = new Set<string>(["Request", "Headers", "URL", "Context", "WebSocket"]);
const noSchema: SchemaFile = { version: 1, handlers: [], definitions: {}, warnings: [] };

/** Makes an app of a table of routes. Throws at start when the table cannot be meant. */
export function serve(table: RouteTable, options: ServeOptions = {}): App {
  return new Server(table, options);
}

class Server implements App {
  readonly #tree = new RouteTree<Route>();
  readonly #routes: Route[] = [];
  readonly #cron = new Map<string, Handler[]>();
  /** Expressions whose missed times are not made up for. */
  readonly #skipping = new Set<string>();
  readonly #options: ServeOptions;
  readonly #mostBodyBytes: number;
  #hasSockets = false;
  #schema = noSchema;

  constructor(table: RouteTable, options: ServeOptions) {
    this.#options = options;
    this.#mostBodyBytes = options.maxBodyBytes ?? 8 * 1024 * 1024;
    this.#addTable(table, "", options.use ?? []);
    this.#hasSockets = this.#tree.has("WS");
    this.#compile(noSchema);
    // Callers may take `fetch` off the object.
    this.fetch = this.fetch.bind(this);
    attachHooks(this, {
      routes: this.#routes.length,
      cron: [...this.#cron.keys()].map((expression) =>
        this.#skipping.has(expression) ? `${expression} skip` : expression
      ),
      table: () =>
        this.#routes.map(({ method, pattern, handler, schema, parameters }) => ({
          method,
          pattern,
          handler: schema?.name ?? handler.name,
          checked: schema !== null || parameters.every(({ source }) => specialSources.has(source)),
        })),
      useSchema: (schema) => this.#compile(schema as SchemaFile),
      runCron: (expression, scheduledTime, context) =>
        this.#runCron(expression, scheduledTime, context as Context),
    });
  }

  fetch(request: Request, _env?: Record<string, string>, context?: Context): Response | Promise<Response> {
    const url = request.url;
    const pathStart = url.indexOf("/", url.indexOf("://") + 3);
    const queryStart = url.indexOf("?", pathStart);
    const path = queryStart < 0 ? url.slice(pathStart) : url.slice(pathStart, queryStart);
    const query = queryStart < 0 ? "" : url.slice(queryStart + 1);
    let { method } = request;
    const isHead = method === "HEAD";
    // Headers are looked at only where they can matter: to read them is a part of a small request's time.
    if (
      this.#hasSockets && method === "GET" && request.headers.get("upgrade")?.toLowerCase() === "websocket"
    ) method = "WS";
    try {
      let found = this.#tree.find(method, path);
      if (found.kind === "method" && (method === "HEAD" || method === "WS")) {
        found = this.#tree.find("GET", path);
      }
      if (found.kind === "found") {
        const route = found.value;
        const answer = this.#answer(route, request, found.values, query, context ?? null);
        if (!isHead || route.method === "HEAD") return answer;
        return answer instanceof Promise ? answer.then(withoutBody) : withoutBody(answer);
      }
      if (found.kind === "method") return refuseMethod(request.method, found.allowed, path);
      return this.#builtIn(request, path) ?? problem(404, `there is no route for ${request.method} ${path}`);
    } catch (error) {
      return failure(error);
    }
  }

  #answer(
    route: Route,
    request: Request,
    values: readonly string[],
    query: string,
    given: Context | null,
  ): Response | Promise<Response> {
    if (route.middleware.length === 0) {
      return this.#call(route, { request, values, query, context: given, socket: null });
    }
    const context = given ?? new PlainContext();
    const run = async (index: number, current: Request): Promise<Response> => {
      try {
        const middleware = route.middleware[index];
        if (middleware === undefined) {
          return await this.#call(route, { request: current, values, query, context, socket: null });
        }
        return await middleware(current, (next) => run(index + 1, next ?? current), context);
      } catch (error) {
        return failure(error);
      }
    };
    return run(0, request);
  }

  #call(route: Route, incoming: Incoming): Response | Promise<Response> {
    if (route.binding.needsBody) return this.#callWithBody(route, incoming);
    if (route.method !== "WS") return this.#finish(route, incoming, null);
    try {
      return this.#upgrade(route, incoming);
    } catch (error) {
      return failure(error);
    }
  }

  #callWithBody(route: Route, incoming: Incoming): Promise<Response> {
    const { request } = incoming;
    // Each promise on the way costs a small request some hundredths of its time.
    if (isPlainJSON(request, this.#mostBodyBytes)) {
      return request.json().then(
        (value) => this.#finish(route, incoming, { value, isText: false }),
        (error) => failure(noJSON(error)),
      );
    }
    return readBody(request, this.#mostBodyBytes).then(
      (body) => this.#finish(route, incoming, body),
      failure,
    );
  }

  /** Binds, calls and answers; stays synchronous where the handler does. */
  #finish(route: Route, incoming: Incoming, body: Body | null): Response | Promise<Response> {
    try {
      const value = invoke(route.handler, route.binding.bind(incoming, body));
      if (!isThenable(value)) return respond(value, route.schema);
      return Promise.resolve(value).then((settled) => respond(settled, route.schema)).catch(failure);
    } catch (error) {
      return failure(error);
    }
  }

  #upgrade(route: Route, incoming: Incoming): Response | Promise<Response> {
    // The input is checked first, so that a bad one gets 400 and not a socket.
    const args = route.binding.bind(incoming, null);
    const { socket, response } = Deno.upgradeWebSocket(incoming.request);
    route.parameters.forEach(({ source }, i) => {
      if (source === "WebSocket") args[i] = socket;
    });
    const failed = (error: unknown) => {
      console.error(error);
      socket.addEventListener("open", () => socket.close(1011, "the app failed"));
      if (socket.readyState === WebSocket.OPEN) socket.close(1011, "the app failed");
    };
    try {
      const value = route.handler(...args);
      if (isThenable(value)) Promise.resolve(value).catch(failed);
    } catch (error) {
      failed(error);
    }
    return response;
  }

  #builtIn(request: Request, path: string): Response | null {
    if (this.#options.docs === false || (request.method !== "GET" && request.method !== "HEAD")) return null;
    const isHead = request.method === "HEAD";
    if (path === "/openapi.json") {
      const response = Response.json(
        openAPI(this.#describe(), this.#schema, this.#title, new URL(request.url).origin),
      );
      return isHead ? withoutBody(response) : response;
    }
    if (path === "/docs") {
      const response = docsPage(this.#title);
      return isHead ? withoutBody(response) : response;
    }
    return null;
  }

  get #title(): string {
    return this.#options.title ?? Deno.env.get("MARTLET_APP") ?? "API";
  }

  #describe(): RouteDescription[] {
    return this.#routes.map(({ method, pattern, handler, schema, parameters }) => ({
      method,
      pattern,
      name: schema?.name ?? handler.name,
      schema,
      parameters,
    }));
  }

  async #runCron(expression: string, scheduledTime: number, context: Context): Promise<void> {
    for (const handler of this.#cron.get(expression) ?? []) await handler(new Date(scheduledTime), context);
  }

  #addTable(table: RouteTable, prefix: string, middleware: Middleware[]): void {
    for (const [key, value] of Object.entries(table)) {
      const words = key.trim().split(/\s+/);
      if (words[0] === "CRON") {
        const rule = words.length === 7 && (words[6] === "once" || words[6] === "skip") ? words[6] : null;
        const expression = words.slice(1, rule === null ? undefined : 6).join(" ");
        checkCron(expression);
        if (rule === "skip") this.#skipping.add(expression);
        if (typeof value !== "function") throw new TypeError(`${key}: a function is needed`);
        this.#cron.set(expression, [...(this.#cron.get(expression) ?? []), value]);
      } else if (words.length === 1 && words[0]!.startsWith("/")) {
        if (typeof value !== "object" || Array.isArray(value)) {
          throw new TypeError(
            `${key}: a nested table is needed, or a method before the path, such as "GET ${key}"`,
          );
        }
        this.#addTable(value, prefix + words[0]!.replace(/\/$/, ""), middleware);
      } else {
        this.#addRoute(key, words, value, prefix, middleware);
      }
    }
  }

  #addRoute(
    key: string,
    words: string[],
    value: RouteTable[string],
    prefix: string,
    middleware: Middleware[],
  ): void {
    const [method, path] = words;
    if (words.length !== 2 || !methods.has(method!)) {
      throw new TypeError(
        `route "${key}": a method and a path are needed, such as "GET /todos/:id"; methods are ${
          [...methods].join(", ")
        }, and there is "CRON 0 4 * * *"`,
      );
    }
    const chain = Array.isArray(value) ? value : [value];
    const handler = chain.at(-1);
    if (!chain.every((part) => typeof part === "function")) {
      throw new TypeError(
        `route "${key}": a function is needed, not ${
          value === undefined ? "undefined; is its name spelled right?" : typeof value
        }`,
      );
    }
    const pattern = prefix === "" ? path! : path === "/" ? prefix : prefix + path;
    const route: Route = {
      method: method === "SSE" ? "GET" : method!,
      pattern,
      handler: handler as Handler,
      middleware: [...middleware, ...chain.slice(0, -1) as Middleware[]],
      schema: null,
      parameters: [],
      binding: compileBinding([]),
    };
    this.#tree.add(route.method, pattern, route);
    this.#routes.push(route);
  }

  #compile(schema: SchemaFile): void {
    if (schema.version !== 1) {
      throw new TypeError(`the schema has version ${schema.version}; this framework knows 1`);
    }
    this.#schema = schema;
    const compiler = new ValidatorCompiler(schema.definitions);
    for (const route of this.#routes) {
      route.schema = schemaOf(route.handler, schema);
      const names = parsePattern(route.pattern).filter(({ kind }) => kind !== "fixed").map(({ text }) =>
        text
      );
      route.parameters = planParameters(route.method, names, route.handler, route.schema, compiler);
      route.binding = compileBinding(route.parameters);
    }
  }
}

/** The schema of a function: the one of its name, if its parameters have the same names too. */
function schemaOf(handler: Handler, file: SchemaFile): HandlerSchema | null {
  const names = parameterNames(handler);
  const candidates = file.handlers.filter(({ name, parameters }) =>
    name === handler.name && parameters.length === names.length &&
    parameters.every((parameter, i) => names[i] === null || parameter.name === names[i])
  );
  return candidates.length === 1 ? candidates[0]! : null;
}

function refuseMethod(method: string, found: string[], path: string): Response {
  const allowed = new Set(found.filter((name) => name !== "WS"));
  if (found.includes("WS") && allowed.size === 0 && (method === "GET" || method === "HEAD")) {
    return problem(426, `${path} is a WebSocket`, {}, { upgrade: "websocket", connection: "upgrade" });
  }
  if (allowed.has("GET") || found.includes("WS")) allowed.add("GET");
  if (allowed.has("GET")) allowed.add("HEAD");
  allowed.add("OPTIONS");
  const allow = { allow: [...allowed].sort().join(", ") };
  if (method === "OPTIONS") return new Response(null, { status: 204, headers: allow });
  return problem(405, `${method} is not possible at ${path}`, {}, allow);
}

/** The answer for something thrown; what is no `HttpError` is thrown on, for the worker to log and hide. */
function failure(error: unknown): Response {
  if (error instanceof HttpError) return problem(error.status, error.message, error.details, error.headers);
  if (error instanceof URIError) return problem(400, "the path is not percent-encoded UTF-8");
  throw error;
}

function withoutBody(response: Response): Response {
  response.body?.cancel();
  return new Response(null, {
    status: response.status,
    statusText: response.statusText,
    headers: response.headers,
  });
}

/** Calls a handler; a call with the arguments written out costs less than one with a list of them. */
function invoke(handler: Handler, args: unknown[]): unknown {
  switch (args.length) {
    case 0:
      return handler();
    case 1:
      return handler(args[0]);
    case 2:
      return handler(args[0], args[1]);
    default:
      return handler(...args);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}
