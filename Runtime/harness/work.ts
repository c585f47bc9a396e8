import type { Work } from "./messages.ts";

/**
 * Counts what keeps the app awake and decides when the host is told. Pure: it is given the time.
 *
 *     idle ──work──► busy (untold) ──still busy after `settleMs`──► busy (told)
 *      ▲                  │ work ends                                   │ work ends
 *      └──────────────────┘                                             ▼
 *      └──────────still idle after `settleMs`: told──────────── idle (untold)
 *
 * Short requests therefore cost no message: the host counts those that it forwards itself.
 */
export class WorkLedger {
  readonly #settleMs: number;
  #work: Work = { requests: 0, waitUntil: 0, webSockets: 0 };
  #toldBusy = false;
  #changedAt = 0;

  constructor(settleMs: number) {
    this.#settleMs = settleMs;
  }

  get work(): Work {
    return { ...this.#work };
  }

  get isBusy(): boolean {
    return this.#work.requests + this.#work.waitUntil + this.#work.webSockets > 0;
  }

  /** Notes that one piece of work began. */
  begin(kind: keyof Work, nowMs: number): void {
    if (!this.isBusy) this.#changedAt = nowMs;
    this.#work[kind] += 1;
  }

  /** Notes that one piece of work ended. */
  end(kind: keyof Work, nowMs: number): void {
    this.#work[kind] -= 1;
    if (!this.isBusy) this.#changedAt = nowMs;
  }

  /** Whether what the host was told differs from what is. */
  get isUntold(): boolean {
    return this.isBusy !== this.#toldBusy;
  }

  /** What to tell the host now, or `null`. */
  report(nowMs: number): Work | null {
    if (!this.isUntold || nowMs - this.#changedAt < this.#settleMs) return null;
    this.#toldBusy = this.isBusy;
    return this.work;
  }
}
