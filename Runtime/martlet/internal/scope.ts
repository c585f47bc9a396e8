import { AsyncLocalStorage } from "node:async_hooks";

/** What belongs to the request, message or cron run that the current code works for. */
export interface Scope {
  requestID: string;
}

const storage = new AsyncLocalStorage<Scope>();

/** Runs `work` so that log lines and the framework know the scope, also after every await. */
export const withScope: <Value>(scope: Scope, work: () => Value) => Value = storage.run.bind(storage);

/** The scope of the current request, or `null` outside of one. */
export function currentScope(): Scope | null {
  return storage.getStore() ?? null;
}

/** The identifier of the current request, or `null` outside of one. */
export function currentRequestID(): string | null {
  return storage.getStore()?.requestID ?? null;
}
