/** What belongs to one request beside the request itself. */
export interface Context {
  /** Identifier of the request, also in the log and in the answer's `x-request-id`. */
  readonly requestId: string;
  /** Name of the app. */
  readonly app: string;
  /** Version of the app that answers: the SHA-256 of its upload. */
  readonly version: string;
  /** Aborted when this worker is asked to end; long work and event streams should end then. */
  readonly signal: AbortSignal;
  /** Keeps the app awake until the promise settles, within the app's limit (30 s unless told otherwise). */
  waitUntil(promise: PromiseLike<unknown>): void;
}

const never = new AbortController().signal;

/** The context where no worker gives one: under plain Deno. Its parts are made when they are asked for. */
export class PlainContext implements Context {
  #requestID: string | null = null;

  get requestId(): string {
    return this.#requestID ??= crypto.randomUUID();
  }

  get app(): string {
    return Deno.env.get("MARTLET_APP") ?? "app";
  }

  get version(): string {
    return Deno.env.get("MARTLET_VERSION") ?? "";
  }

  get signal(): AbortSignal {
    return never;
  }

  waitUntil(promise: PromiseLike<unknown>): void {
    Promise.resolve(promise).catch((error) => console.error(error));
  }
}
