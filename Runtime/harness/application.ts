import { type AppHooks, appHooks } from "../martlet/internal/hooks.ts";
import type { Context } from "../martlet/context.ts";
import { describeFailure } from "./failure.ts";
import type { FailureReport } from "./messages.ts";
import { loadModule } from "./wasi/cgi.ts";

/** The app's handler, in the shape that other runtimes share. */
export type FetchHandler = (
  request: Request,
  env: Record<string, string>,
  context: Context,
) => Response | Promise<Response>;

/** A time slot of a cron expression. */
export interface ScheduledEvent {
  cron: string;
  scheduledTime: number;
}

/** An app that was loaded and keeps to the contract. */
export interface Application {
  fetch: FetchHandler;
  /** The handler of cron expressions of a plain app. */
  scheduled: ((event: ScheduledEvent, env: Record<string, string>, context: Context) => unknown) | null;
  /** What the framework's `serve` tells the harness; `null` for a plain app. */
  hooks: AppHooks | null;
}

/** The app, or why it cannot be served. */
export type LoadedApplication = { ok: true; app: Application } | { ok: false; failure: FailureReport };

/**
 * Imports the app's module and checks its default export.
 *
 * The specifier is not a literal, so that Deno checks every static import in it against
 * `--allow-read`; as an entry point they would escape the check.
 */
export async function loadApplication(
  main: string,
  timeoutMs: number,
  runtimeURL: string,
  data: string,
): Promise<LoadedApplication> {
  const captured = captureServe();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<LoadedApplication>((resolve) => {
    timer = setTimeout(() => {
      resolve({
        ok: false,
        failure: {
          phase: "timeout",
          message:
            `${main} did not finish loading in ${timeoutMs} ms; is there an await at the top level that never ends?`,
          file: main,
        },
      });
    }, timeoutMs);
  });
  try {
    return await Promise.race([timeout, importApplication(main, runtimeURL, data, captured)]);
  } finally {
    clearTimeout(timer);
  }
}

async function importApplication(
  main: string,
  runtimeURL: string,
  data: string,
  captured: { handler: FetchHandler | null },
): Promise<LoadedApplication> {
  const url = new URL(`file://${main.split("/").map(encodeURIComponent).join("/")}`).href;
  let module: Record<string, unknown>;
  try {
    if (main.endsWith(".wasm")) return { ok: true, app: await loadModule(main, data) };
    module = await import(url);
  } catch (error) {
    return { ok: false, failure: describeFailure("import", error, runtimeURL) };
  }
  return checkContract(main, module, captured.handler);
}

/** Finds the handler in a module's exports. */
export function checkContract(
  main: string,
  module: Record<string, unknown>,
  served: FetchHandler | null,
): LoadedApplication {
  const exported = module.default;
  if (typeof exported === "function" && typeof (exported as { fetch?: unknown }).fetch !== "function") {
    return { ok: true, app: { fetch: exported as FetchHandler, scheduled: null, hooks: null } };
  }
  if ((typeof exported === "object" && exported !== null) || typeof exported === "function") {
    const target = exported as Record<string, unknown>;
    const fetch = target.fetch;
    if (typeof fetch === "function") {
      const scheduled = target.scheduled;
      return {
        ok: true,
        app: {
          fetch: (request, env, context) => fetch.call(target, request, env, context),
          scheduled: typeof scheduled === "function" ? scheduled.bind(target) : null,
          hooks: appHooks(target),
        },
      };
    }
  }
  if (served !== null) return { ok: true, app: { fetch: served, scheduled: null, hooks: null } };
  const example = `export default { fetch(request) { return new Response("hello"); } }`;
  if (!("default" in module)) {
    const names = Object.keys(module);
    const found = names.length === 0 ? "it exports nothing" : `it exports ${names.slice(0, 8).join(", ")}`;
    return {
      ok: false,
      failure: contractFailure(main, `${main} has no default export (${found}); add: ${example}`),
    };
  }
  const kind = exported === null ? "null" : typeof exported;
  const keys = kind === "object"
    ? ` with ${Object.keys(exported as object).slice(0, 8).join(", ") || "no keys"}`
    : "";
  return {
    ok: false,
    failure: contractFailure(
      main,
      `the default export of ${main} is ${kind}${keys}, without a function fetch; wanted: ${example}`,
    ),
  };
}

function contractFailure(main: string, message: string): FailureReport {
  return { phase: "contract", message, file: main };
}

/**
 * Lets an app that calls `Deno.serve(handler)` run as it is: the handler is kept, no port is opened.
 * A default export with `fetch` takes precedence.
 */
function captureServe(): { handler: FetchHandler | null } {
  const captured: { handler: FetchHandler | null } = { handler: null };
  const never = new Promise<void>(() => {});
  const serve = (...args: unknown[]) => {
    const handler = args.find((value) => typeof value === "function") ??
      (args[0] as { handler?: unknown } | undefined)?.handler;
    if (typeof handler !== "function") throw new TypeError("Deno.serve: a handler is needed");
    const info = {
      remoteAddr: { transport: "tcp", hostname: "127.0.0.1", port: 0 },
      completed: Promise.resolve(),
    };
    captured.handler ??= (request) => handler(request, info);
    return {
      finished: never,
      addr: info.remoteAddr,
      shutdown: () => Promise.resolve(),
      ref() {},
      unref() {},
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  };
  (Deno as unknown as { serve: unknown }).serve = serve;
  return captured;
}
