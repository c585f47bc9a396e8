/** The messages of the control connection: one JSON object a line in both directions. */

import type { RouteReport } from "../martlet/internal/hooks.ts";

/** Why a worker is asked to end. */
export type StopReason = "sleep" | "deploy" | "move" | "shutdown" | "delete";

/** Limits of one app; every one has a default. */
export interface Limits {
  /** Milliseconds until a request without an answer gets 504. Default 30 s. */
  requestTimeoutMs?: number;
  /** Milliseconds that the import of the app may take. Default 10 s. */
  startTimeoutMs?: number;
  /** Milliseconds that a promise given to `ctx.waitUntil` keeps the app awake. Default 30 s. */
  waitUntilMs?: number;
}

/** Hands the worker its app. */
export interface StartMessage {
  type: "start";
  app: string;
  version: string;
  /** Absolute path of the module. */
  main: string;
  /** Absolute path of the folder of the app's databases. */
  data: string;
  env?: Record<string, string>;
  /** While the app is being developed: answers to errors say what went wrong, and where. */
  develop?: boolean;
  /** Absolute path of the schema file made at deploy, if there is one. */
  schema?: string;
  /** The address of the app as its users see it, for documents that name it. */
  publicURL?: string;
  limits?: Limits;
}

/** Asks the worker to end. */
export interface StopMessage {
  type: "stop";
  reason?: StopReason;
  /** Close code for open WebSockets; 1012 (service restart) after deploy and move, else 1001 (going away). */
  closeCode?: number;
  /** Milliseconds for running requests and `waitUntil` promises. Default 10 s. */
  graceMs?: number;
}

/** Runs the handlers of a cron expression. */
export interface CronMessage {
  type: "cron";
  expr: string;
  /** The path of the request to make; without it the handlers of the expression run. */
  path?: string;
  /** The time slot, in milliseconds since 1970. */
  scheduledTime: number;
  id: string;
}

/** What the host says. */
export type HostMessage = StartMessage | StopMessage | CronMessage;

/** Where and how the start of an app failed. */
export interface FailureReport {
  phase: "import" | "contract" | "timeout";
  message: string;
  stack?: string;
  file?: string;
  line?: number;
  column?: number;
}

/** What keeps an app awake at one moment. */
export interface Work {
  requests: number;
  waitUntil: number;
  webSockets: number;
}

/** What the worker says; the connection adds `key`. */
export type WorkerMessage =
  | { type: "ready"; deno: string; pid: number }
  | { type: "started"; ms: number; cron: string[]; routes: number; table: RouteReport[]; unchecked: string[] }
  | ({ type: "failed" } & FailureReport)
  | ({ type: "activity" } & Work)
  | { type: "cronDone"; id: string; ok: boolean; message?: string }
  | { type: "stopped" };

/** Checks a line of the host; `null` for a type that this version does not know. Throws on a malformed line. */
export function parseHostMessage(line: string): HostMessage | null {
  const value: unknown = JSON.parse(line);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError("a control message must be an object");
  }
  const message = value as Record<string, unknown>;
  switch (message.type) {
    case "start":
      for (const key of ["app", "version", "main", "data"]) {
        if (typeof message[key] !== "string") throw new TypeError(`start: ${key} must be a string`);
      }
      return message as unknown as StartMessage;
    case "stop":
      return message as unknown as StopMessage;
    case "cron":
      if (typeof message.expr !== "string" || typeof message.id !== "string") {
        throw new TypeError("cron: expr and id must be strings");
      }
      return message as unknown as CronMessage;
    default:
      return null;
  }
}
