import { originalRequest } from "./request.ts";

/** An open WebSocket, with methods that user code cannot have replaced. */
interface OpenSocket {
  close(code: number, reason: string): void;
}

/** Every WebSocket that the app accepted and that is not closed yet. */
export class SocketRegistry {
  readonly #open = new Set<OpenSocket>();
  readonly #onOpen: () => void;
  readonly #onClose: () => void;
  #waiting: (() => void)[] = [];

  constructor(onOpen: () => void, onClose: () => void) {
    this.#onOpen = onOpen;
    this.#onClose = onClose;
  }

  get count(): number {
    return this.#open.size;
  }

  /** Makes `Deno.upgradeWebSocket` note every socket. */
  patchUpgrade(): void {
    const upgrade = Deno.upgradeWebSocket;
    Deno.upgradeWebSocket = (request, options) => {
      const upgraded = upgrade(originalRequest(request), options);
      this.#add(upgraded.socket);
      return upgraded;
    };
  }

  /** Sends a close frame to every client. */
  closeAll(code: number, reason: string): void {
    for (const socket of this.#open) {
      try {
        socket.close(code, reason);
      } catch {
        // Closed in the same moment by the other side.
      }
    }
  }

  /** Resolves when no socket is open. */
  async drained(): Promise<void> {
    while (this.#open.size > 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #add(socket: WebSocket): void {
    const own: OpenSocket = { close: socket.close.bind(socket) };
    this.#open.add(own);
    this.#onOpen();
    socket.addEventListener("close", () => {
      if (!this.#open.delete(own)) return;
      this.#onClose();
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const resolve of waiting) resolve();
    }, { once: true });
  }
}
