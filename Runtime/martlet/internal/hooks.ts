/** A route, for people. */
export interface RouteReport {
  method: string;
  pattern: string;
  handler: string;
  /** Whether types say what its input must be; always true where it takes none. */
  checked: boolean;
}

/** What an app made by `serve` tells the harness beside `fetch`. */
export interface AppHooks {
  /** How many routes there are. */
  routes: number;
  /** The cron expressions, each once; ` skip` follows where missed times are not made up for. */
  cron: string[];
  /** The routes, as they are after the schema was taken. */
  table(): RouteReport[];
  /** Takes the schema file made at deploy, before the first request. */
  useSchema(schema: unknown): void;
  /** Runs the handlers of a cron expression. */
  runCron(expression: string, scheduledTime: number, context: unknown): Promise<void>;
}

const key = Symbol("martlet.hooks");

/** Attaches hooks to the object that `serve` returns. */
export function attachHooks(target: object, hooks: AppHooks): void {
  Object.defineProperty(target, key, { value: hooks });
}

/** The hooks of an app, or `null` for one that was not made by `serve`. */
export function appHooks(target: object): AppHooks | null {
  return (target as { [key]?: AppHooks })[key] ?? null;
}

const stopping = new AbortController();
let closers: (() => void)[] = [];

/** Aborted when the worker is asked to end: event streams end, loops stop. */
export const stopSignal: AbortSignal = stopping.signal;

/** Adds work for the end of the worker, after the last request. Run last-in first-out. */
export function onClose(close: () => void): void {
  closers.push(close);
}

/** Tells everything that waits on `stopSignal`. */
export function beginStop(reason: string): void {
  stopping.abort(new DOMException(`the worker stops: ${reason}`, "AbortError"));
}

/** Runs what `onClose` was given and returns what was thrown. */
export function runClosers(): unknown[] {
  const thrown: unknown[] = [];
  for (const close of closers.reverse()) {
    try {
      close();
    } catch (error) {
      thrown.push(error);
    }
  }
  closers = [];
  return thrown;
}
