import { DatabaseSync } from "node:sqlite";
import "martlet";
import { withScope } from "../martlet/internal/scope.ts";
import type { Arguments } from "./arguments.ts";
import { ControlConnection } from "./control.ts";
import { errorText } from "./failure.ts";
import { log, patchConsole } from "./logs.ts";
import { patchRequestConstructor } from "./request.ts";
import { patchSQLite, patchThreads } from "./statements.ts";
import type { Worker } from "./worker.ts";

/**
 * Makes a process ready to be given an app: everything that costs time on first use is used once,
 * and what user code must not reach is put out of reach.
 */
export const Boot = {
  /** Boots and tells the host that the worker is ready. Throws when a socket cannot be opened. */
  async run(args: Arguments, worker: Worker): Promise<void> {
    hideInternals();
    patchRequestConstructor();
    worker.sockets.patchUpgrade();
    listenForErrors();
    patchExit();
    patchSQLite((text) => log("warn", text, "martlet"));
    patchThreads(new URL("./thread.ts", import.meta.url).href);
    exerciseDatabase();
    const nativeServe = Deno.serve;
    const server = nativeServe(
      { path: args.serve, onListen() {}, onError: () => new Response(null, { status: 500 }) },
      (request, info) => worker.answer(request, info),
    );
    await exerciseServer(args.serve, worker);
    const control = await ControlConnection.open(args.control);
    worker.attach(server, control);
    revokeSockets(args);
    await control.send({ type: "ready", deno: Deno.version.deno, pid: Deno.pid });
  },
};

/** Deno keeps a table of its internals under a symbol; with it, user code could reach open connections by number. */
function hideInternals(): void {
  const holder = Deno as unknown as Record<symbol, { Console: never } | undefined> & { internal: symbol };
  const internals = holder[holder.internal];
  if (internals === undefined) {
    throw new Error("this version of Deno has no Deno[Deno.internal]; the runtime does not know it");
  }
  patchConsole(internals.Console);
  delete holder[holder.internal];
}

/** An error that nobody handles is logged and does not end the worker. */
function listenForErrors(): void {
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log("error", `unhandled rejection: ${errorText(event.reason)}`);
  });
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    log("error", `uncaught error: ${errorText(event.error)}`);
  });
}

/** An app that ends its own process leaves a trace in its log. */
function patchExit(): void {
  const exit = Deno.exit.bind(Deno);
  Deno.exit = (code?: number): never => {
    const where = new Error().stack?.split("\n").find((line) =>
      line.includes("file://") && !line.includes("/harness/")
    );
    log(
      "warn",
      `the app called Deno.exit(${code ?? ""})${where === undefined ? "" : ` ${where.trim()}`}`,
      "martlet",
    );
    return exit(code);
  };
}

function exerciseDatabase(): void {
  const database = new DatabaseSync(":memory:");
  database.exec("create table t (a, b)");
  database.prepare("insert into t values (?, ?)").run(1, "x");
  database.prepare("select a, b from t where a = ?").get(1);
  database.prepare("select a, b from t").all();
  database.close();
}

/** Sends requests to the worker's own socket: without an app, and through the whole path with a small one. */
async function exerciseServer(path: string, worker: Worker): Promise<void> {
  await request(path, "GET / HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n");
  const app = {
    fetch: async (request: Request) => {
      const url = new URL(request.url);
      const body = request.method === "POST" ? await request.json() : null;
      return Response.json({
        path: url.pathname,
        query: url.searchParams.get("q"),
        agent: request.headers.get("user-agent"),
        body,
      });
    },
    scheduled: null,
    hooks: null,
  };
  await worker.rehearse(app, async () => {
    const common = "Host: w\r\nUser-Agent: boot\r\nx-request-id: boot\r\nx-forwarded-proto: http\r\n";
    await request(path, `GET /?q=1 HTTP/1.1\r\n${common}Connection: close\r\n\r\n`);
    await request(
      path,
      `POST / HTTP/1.1\r\n${common}Content-Type: application/json\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{"a":1}`,
    );
  });
  withScope({ requestID: "boot" }, () => {});
}

async function request(path: string, text: string): Promise<void> {
  const connection = await Deno.connect({ transport: "unix", path });
  try {
    await connection.write(new TextEncoder().encode(text));
    const buffer = new Uint8Array(4096);
    while (await connection.read(buffer) !== null);
  } finally {
    connection.close();
  }
}

/** The folder of the sockets is needed no more; user code gets no part of it. */
function revokeSockets(args: Arguments): void {
  // With all permissions it is the kernel that keeps the app within its bounds, and the host takes the folder away. To give
  // up one permission would give up ATTACH too.
  if (Deno.permissions.querySync({ name: "ffi" }).state === "granted") return;
  const folders = new Set([args.serve, args.control].map((path) => path.slice(0, path.lastIndexOf("/"))));
  for (const path of folders) {
    for (const name of ["read", "write"] as const) Deno.permissions.revokeSync({ name, path });
  }
}
