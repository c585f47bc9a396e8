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
