/** Promises that are all due the same time after they were added; one timer serves them all. */
export class DeadlineQueue {
  readonly #timeoutMs: number;
  readonly #due = new Map<number, { atMs: number; expire: () => void }>();
  #next = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Calls `expire` after the time-out unless the returned number is given to `remove` before. */
  add(expire: () => void): number {
    const id = this.#next++;
    this.#due.set(id, { atMs: performance.now() + this.#timeoutMs, expire });
    this.#timer ??= setTimeout(() => this.#sweep(), Math.min(this.#timeoutMs, 250));
    return id;
  }

  remove(id: number): void {
    this.#due.delete(id);
  }

  #sweep(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const [id, { atMs, expire }] of this.#due) {
      if (atMs > now) break;
      this.#due.delete(id);
      expire();
    }
    const first = this.#due.values().next();
    if (!first.done) {
      this.#timer = setTimeout(() => this.#sweep(), Math.max(10, Math.min(250, first.value.atMs - now)));
    }
  }
}
