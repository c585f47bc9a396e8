import { beginStop, runClosers, stopSignal } from "../martlet/internal/hooks.ts";
import { withScope } from "../martlet/internal/scope.ts";
import type { Context } from "../martlet/context.ts";
import { type Application, loadApplication } from "./application.ts";
import type { ControlConnection } from "./control.ts";
import { DeadlineQueue } from "./deadlines.ts";
import { ExitCode } from "./exit_code.ts";
import { developmentFailure } from "./development.ts";
import { errorText } from "./failure.ts";
import { log } from "./logs.ts";
import type { CronMessage, HostMessage, StartMessage, StopMessage } from "./messages.ts";
import { openRequest } from "./request.ts";
import { SocketRegistry } from "./sockets.ts";
import { beginStatements, statementsHeader, statementsReport } from "./statements.ts";
import { WorkLedger } from "./work.ts";

/** How long the app's state must last until the host is told, in milliseconds. */
const settleMs = 250;
/** The most promises given to `waitUntil` that may be open at once. */
const mostWaitUntil = 10_000;
/** How long a schema file may take that is made while the app starts, in milliseconds. */
const mostSchemaWaitMs = 5_000;
/** The most routes that are named to the host. */
const mostReported = 500;
/** How long clients may take to answer a close frame, in milliseconds. */
const closeHandshakeMs = 1_000;

type State =
  | { name: "waiting" }
  | { name: "starting" }
  | { name: "serving"; app: Application; start: StartMessage; deadlines: DeadlineQueue }
  | { name: "stopping" };

/** One worker: answers HTTP, follows the host's messages. */
export class Worker {
  readonly #exit: (code: number) => never;
  readonly #ledger = new WorkLedger(settleMs);
  readonly sockets: SocketRegistry;
  readonly #runtimeURL = new URL("../", import.meta.url).href;
  #state: State = { name: "waiting" };
  #env: Record<string, string> = {};
  #waitUntilMs = 30_000;
  #control: ControlConnection | null = null;
  #server: { shutdown(): Promise<void> } | null = null;
  #reportTimer: ReturnType<typeof setTimeout> | undefined;
  #idleWaiters: (() => void)[] = [];

  constructor(exit: (code: number) => never) {
    this.#exit = exit;
    this.sockets = new SocketRegistry(() => this.#begin("webSockets"), () => this.#end("webSockets"));
  }

  /** Gives the worker what boot opened. */
  attach(server: { shutdown(): Promise<void> }, control: ControlConnection): void {
    this.#server = server;
    this.#control = control;
  }

  /** Runs `work` while `app` answers the requests: boot exercises the whole path with it. */
  async rehearse(app: Application, work: () => Promise<void>): Promise<void> {
    const start: StartMessage = { type: "start", app: "", version: "", main: "", data: "" };
    this.#state = { name: "serving", app, start, deadlines: new DeadlineQueue(1_000) };
    await work();
    this.#state = { name: "waiting" };
  }

  /** Follows the host until the worker has to end, and returns the exit code. */
  async run(): Promise<number> {
    try {
      for await (const message of this.#control!.messages()) {
        const code = await this.#follow(message);
        if (code !== null) return code;
      }
      log("warn", "the host closed the control connection; the worker ends", "martlet");
    } catch (error) {
      log("error", `the control connection broke: ${errorText(error)}`, "martlet");
    }
    await this.#stop({ type: "stop", reason: "shutdown", graceMs: 1_000 });
    return ExitCode.hostGone;
  }

  // MARK: The host's messages

  async #follow(message: HostMessage): Promise<number | null> {
    switch (message.type) {
      case "start":
        if (this.#state.name !== "waiting") {
          log("error", `start was ignored: the worker is ${this.#state.name}`, "martlet");
          return null;
        }
        // Not awaited: a stop must be heard while the app's module loads.
        this.#start(message);
        return null;
      case "stop":
        await this.#stop(message);
        await this.#control!.send({ type: "stopped" });
        return ExitCode.stopped;
      case "cron":
        this.#runCron(message);
        return null;
    }
  }

  async #start(message: StartMessage): Promise<void> {
    const began = performance.now();
    this.#state = { name: "starting" };
    const limits = message.limits ?? {};
    this.#waitUntilMs = limits.waitUntilMs ?? 30_000;
    this.#env = { ...message.env };
    for (const [name, value] of Object.entries(this.#env)) Deno.env.set(name, value);
    Deno.env.set("MARTLET_APP", message.app);
    Deno.env.set("MARTLET_VERSION", message.version);
    Deno.env.set("MARTLET_DATA", message.data);
    try {
      Deno.chdir(message.main.slice(0, Math.max(1, message.main.lastIndexOf("/"))));
    } catch {
      // Without the folder the import fails below, and says so.
    }
    const loaded = await loadApplication(
      message.main,
      limits.startTimeoutMs ?? 10_000,
      this.#runtimeURL,
      message.data,
    );
    if ((this.#state as State).name === "stopping") return;
    if (!loaded.ok) {
      await this.#control!.send({ type: "failed", ...loaded.failure });
      this.#exit(ExitCode.failed);
    }
    const hooks = loaded.app.hooks;
    if (hooks !== null && message.schema !== undefined) {
      try {
        if (message.develop) await appears(message.schema);
        hooks.useSchema(JSON.parse(await Deno.readTextFile(message.schema)));
      } catch (error) {
        log("error", `the schema ${message.schema} was not used: ${errorText(error)}`, "martlet");
      }
    }
    if ((this.#state as State).name === "stopping") return;
    const deadlines = new DeadlineQueue(limits.requestTimeoutMs ?? 30_000);
    this.#state = { name: "serving", app: loaded.app, start: message, deadlines };
    const table = hooks?.table() ?? [];
    this.#control!.send({
      type: "started",
      ms: Math.round((performance.now() - began) * 100) / 100,
      cron: hooks?.cron ?? [],
      routes: hooks?.routes ?? 0,
      table: table.slice(0, mostReported),
      unchecked: message.schema === undefined
        ? []
        : table.filter(({ checked }) => !checked).slice(0, mostReported).map(({ method, pattern, handler }) =>
          `${method} ${pattern}${handler === "" || handler.includes(" ") ? "" : ` (${handler})`}`
        ),
    });
  }

  async #stop(message: StopMessage): Promise<void> {
    const reason = message.reason ?? "shutdown";
    const endsAt = performance.now() + Math.max(0, message.graceMs ?? 10_000);
    const wasServing = this.#state.name === "serving";
    this.#state = { name: "stopping" };
    if (wasServing) beginStop(reason);
    const restarts = reason === "deploy" || reason === "move";
    this.sockets.closeAll(
      message.closeCode ?? (restarts ? 1012 : 1001),
      `the app ${restarts ? "restarts" : "stops"}: ${reason}`,
    );
    const left = () => Math.max(0, endsAt - performance.now());
    // Before the server shuts down, which would close the sockets with a code of its own.
    await within(this.sockets.drained(), Math.min(closeHandshakeMs, left()));
    // The server's own end comes after the last byte of the last answer.
    const served = this.#server?.shutdown().catch(() => {}) ?? Promise.resolve();
    await within(Promise.all([this.#whenIdle(), served]), left());
    const { requests, waitUntil } = this.#ledger.work;
    if (requests + waitUntil > 0) {
      log(
        "warn",
        `stopping (${reason}): ${requests} requests and ${waitUntil} waitUntil promises did not end in time`,
        "martlet",
        null,
      );
    }
    for (const error of runClosers()) log("error", `while closing: ${errorText(error)}`, "martlet", null);
  }

  async #runCron(message: CronMessage): Promise<void> {
    const done = (ok: boolean, text?: string) =>
      this.#control!.send({
        type: "cronDone",
        id: message.id,
        ok,
        ...(text === undefined ? {} : { message: text }),
      });
    const state = this.#state;
    if (state.name !== "serving") return done(false, `the worker is ${state.name}`);
    const context = new RequestContext(this, state.start, `cron-${message.id}`);
    this.#begin("waitUntil");
    try {
      await withScope({ requestID: context.requestId }, async () => {
        const hooks = state.app.hooks;
        if (message.path !== undefined) {
          await this.#requestForCron(message, message.path, state, context);
        } else if (hooks !== null && hooks.cron.some((route) => expressionOf(route) === message.expr)) {
          await hooks.runCron(message.expr, message.scheduledTime, context);
        } else if (state.app.scheduled !== null) {
          await state.app.scheduled(
            { cron: message.expr, scheduledTime: message.scheduledTime },
            this.#env,
            context,
          );
        } else {
          throw new Error(
            `the app has no handler for "CRON ${message.expr}" and its default export no function scheduled`,
          );
        }
      });
      await done(true);
    } catch (error) {
      log("error", `CRON ${message.expr}: ${errorText(error)}`, undefined, context.requestId);
      await done(false, error instanceof Error ? error.message : String(error));
    } finally {
      this.#end("waitUntil");
    }
  }

  /** A job of martlet.json is a request; clients cannot send its header, which is removed from theirs. */
  async #requestForCron(
    message: CronMessage,
    path: string,
    state: State & { name: "serving" },
    context: Context,
  ): Promise<void> {
    const request = new Request(new URL(path, state.start.publicURL ?? "http://localhost"), {
      method: "POST",
      headers: {
        "x-martlet-cron": message.expr,
        "x-martlet-scheduled-time": new Date(message.scheduledTime).toISOString(),
        "x-request-id": context.requestId,
      },
    });
    const answer = await state.app.fetch(request, this.#env, context);
    const text = (await answer.text()).slice(0, 200);
    if (answer.status >= 400) throw new Error(`POST ${path} was answered with ${answer.status}: ${text}`);
  }

  // MARK: Requests

  /** Answers one request of the ingress. */
  answer(raw: Request, info: { completed: Promise<void> }): Response | Promise<Response> {
    const state = this.#state;
    if (state.name !== "serving") return refusal(state.name === "stopping" ? "stopping" : "waiting");
    const { request, requestID } = openRequest(raw);
    this.#begin("requests");
    const ended = () => this.#end("requests");
    info.completed.then(ended, ended);
    const context = new RequestContext(this, state.start, requestID);
    beginStatements(context);
    let answer: unknown;
    try {
      answer = withScope(context, () => state.app.fetch(request, this.#env, context));
    } catch (error) {
      return this.#failed(error, request, requestID);
    }
    if (answer instanceof Response) return finish(answer, context);
    return this.#answerLater(answer, state.deadlines, request, context);
  }

  #answerLater(
    answer: unknown,
    deadlines: DeadlineQueue,
    request: Request,
    context: RequestContext,
  ): Promise<Response> {
    const requestID = context.requestId;
    return new Promise((resolve) => {
      const id = deadlines.add(() => {
        log(
          "error",
          `${request.method} ${new URL(request.url).pathname}: no answer within the app's requestTimeout`,
          undefined,
          requestID,
        );
        resolve(refusal("timeout", requestID));
      });
      const settle = (response: Response) => {
        deadlines.remove(id);
        resolve(response);
      };
      Promise.resolve(answer).then(
        (value) => {
          settle(
            value instanceof Response ? finish(value, context) : this.#failed(
              new TypeError(`fetch returned ${describe(value)} where a Response is needed`),
              request,
              requestID,
            ),
          );
        },
        (error) => settle(this.#failed(error, request, requestID)),
      );
    });
  }

  #failed(error: unknown, request: Request, requestID: string): Response {
    log("error", `${request.method} ${request.url}: ${errorText(error)}`, undefined, requestID);
    if (this.#state.name === "serving" && this.#state.start.develop) {
      return developmentFailure(error, request, requestID, this.#runtimeURL);
    }
    return refusal("error", requestID);
  }

  // MARK: What keeps the app awake

  /** Keeps the app awake until the promise settles or the limit has passed. */
  waitUntil(promise: PromiseLike<unknown>, requestID: string): void {
    if (this.#ledger.work.waitUntil >= mostWaitUntil) {
      throw new RangeError(`waitUntil: there are ${mostWaitUntil} open promises already`);
    }
    this.#begin("waitUntil");
    let isOpen = true;
    const end = () => {
      if (!isOpen) return;
      isOpen = false;
      clearTimeout(timer);
      this.#end("waitUntil");
    };
    const timer = setTimeout(() => {
      log(
        "warn",
        `a promise given to waitUntil did not settle in ${this.#waitUntilMs} ms; the app may sleep now`,
        "martlet",
        requestID,
      );
      end();
    }, this.#waitUntilMs);
    Promise.resolve(promise).then(end, (error) => {
      log("error", `waitUntil: ${errorText(error)}`, undefined, requestID);
      end();
    });
  }

  #begin(kind: "requests" | "waitUntil" | "webSockets"): void {
    this.#ledger.begin(kind, performance.now());
    if (this.#reportTimer === undefined && this.#ledger.isUntold) this.#scheduleReport();
  }

  #end(kind: "requests" | "waitUntil" | "webSockets"): void {
    this.#ledger.end(kind, performance.now());
    const { requests, waitUntil } = this.#ledger.work;
    if (requests + waitUntil === 0 && this.#idleWaiters.length > 0) {
      const waiters = this.#idleWaiters;
      this.#idleWaiters = [];
      for (const resolve of waiters) resolve();
    }
    if (this.#reportTimer === undefined && this.#ledger.isUntold) this.#scheduleReport();
  }

  #scheduleReport(): void {
    this.#reportTimer = setTimeout(() => {
      this.#reportTimer = undefined;
      if (this.#state.name !== "serving") return;
      const work = this.#ledger.report(performance.now());
      if (work !== null) this.#control?.send({ type: "activity", ...work });
      else if (this.#ledger.isUntold) this.#scheduleReport();
    }, settleMs);
  }

  async #whenIdle(): Promise<void> {
    for (;;) {
      const { requests, waitUntil } = this.#ledger.work;
      if (requests + waitUntil === 0) return;
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    }
  }
}

/** The context that is given to the app, and the scope of its log lines. */
class RequestContext implements Context {
  readonly requestId: string;
  readonly #worker: Worker;
  readonly #start: StartMessage;

  constructor(worker: Worker, start: StartMessage, requestID: string) {
    this.#worker = worker;
    this.#start = start;
    this.requestId = requestID;
  }

  get requestID(): string {
    return this.requestId;
  }

  get app(): string {
    return this.#start.app;
  }

  get version(): string {
    return this.#start.version;
  }

  get signal(): AbortSignal {
    return stopSignal;
  }

  waitUntil(promise: PromiseLike<unknown>): void {
    this.#worker.waitUntil(promise, this.requestId);
  }
}

const refusals = {
  waiting: [503, "the worker has no app yet", "worker_waiting"],
  stopping: [503, "the worker is stopping", "worker_stopping"],
  timeout: [504, "the app did not answer in time", "request_timeout"],
  error: [500, "the app failed to answer; its log has the reason under this request id", "app_error"],
} as const;

/** An answer of the harness itself, marked so that the host can tell it from the app's. */
function refusal(kind: keyof typeof refusals, requestID?: string): Response {
  const [status, message, code] = refusals[kind];
  const headers: Record<string, string> = { "x-martlet-worker": kind };
  if (requestID !== undefined) headers["x-request-id"] = requestID;
  if (kind === "stopping") headers.connection = "close";
  // In the form of all errors of the platform.
  return Response.json({
    error: { code, message },
    ...(requestID === undefined ? {} : { requestId: requestID }),
  }, {
    status,
    headers,
  });
}

/** Adds the request's identifier and what only the harness may say. */
function finish(response: Response, context: RequestContext): Response {
  const requestID = context.requestId;
  const report = statementsReport(context);
  try {
    response.headers.set("x-request-id", requestID);
    response.headers.set(statementsHeader, report);
    response.headers.delete("x-martlet-worker");
    return response;
  } catch {
    // The headers are immutable (an answer of `fetch` passed on, a redirect): copy them.
    const headers = new Headers(response.headers);
    headers.set("x-request-id", requestID);
    headers.set(statementsHeader, report);
    headers.delete("x-martlet-worker");
    return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
  }
}

/** The five fields of a cron route, without the rule after them. */
function expressionOf(route: string): string {
  return route.split(" ", 5).join(" ");
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  const name = (value as object).constructor?.name;
  return typeof value === "object"
    ? `an object${name === undefined ? "" : ` (${name})`}`
    : `a ${typeof value}`;
}

/** Waits for a file that is being written beside the start of the app. */
async function appears(path: string): Promise<void> {
  for (let waited = 0; waited < mostSchemaWaitMs; waited += 3) {
    try {
      await Deno.lstat(path);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  }
}

/** Waits for a promise, but not longer than `ms`. */
async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([promise, new Promise<void>((resolve) => timer = setTimeout(resolve, ms))]);
  clearTimeout(timer);
}
