import { LineCutter } from "./lines.ts";
import { type HostMessage, parseHostMessage, type WorkerMessage } from "./messages.ts";

/** The longest control message, in bytes. */
const longestLineBytes = 1 << 20;

/**
 * The connection to the host.
 *
 * User code shares the isolate, so nothing here is reachable from a global: the methods of the
 * socket are bound before user code loads (a patched prototype does not see the socket), Deno's
 * internals, which list open resources by number, are deleted at boot, and every message carries a
 * key that was drawn before user code loads, so that a line written by user code to the bare file
 * descriptor is not believed.
 */
export class ControlConnection {
  readonly #read: (buffer: Uint8Array) => Promise<number | null>;
  readonly #write: (bytes: Uint8Array) => Promise<number>;
  readonly #close: () => void;
  readonly #key: string;
  readonly #encode: (text: string) => Uint8Array;
  readonly #stringify = JSON.stringify;
  #queue: Promise<void> = Promise.resolve();

  private constructor(connection: Deno.Conn, key: string) {
    this.#read = connection.read.bind(connection);
    this.#write = connection.write.bind(connection);
    this.#close = connection.close.bind(connection);
    this.#key = key;
    const encoder = new TextEncoder();
    this.#encode = encoder.encode.bind(encoder);
  }

  /** Connects to the host's socket. */
  static async open(path: string): Promise<ControlConnection> {
    const connection = await Deno.connect({ transport: "unix", path });
    return new ControlConnection(connection, crypto.randomUUID());
  }

  /** Sends a message after those sent before; resolves when it is written, also when the host is gone. */
  send(message: WorkerMessage): Promise<void> {
    const bytes = this.#encode(this.#stringify({ ...message, key: this.#key }) + "\n");
    this.#queue = this.#append(this.#queue, bytes);
    return this.#queue;
  }

  /** The host's messages until the host closes. Throws when a line is malformed or too long. */
  async *messages(): AsyncGenerator<HostMessage> {
    const cutter = new LineCutter(longestLineBytes);
    const buffer = new Uint8Array(16384);
    for (;;) {
      const count = await this.#read(buffer);
      if (count === null) return;
      for (const line of cutter.push(buffer.subarray(0, count))) {
        const message = line === "" ? null : parseHostMessage(line);
        if (message !== null) yield message;
      }
    }
  }

  close(): void {
    try {
      this.#close();
    } catch {
      // Closed already by the other side.
    }
  }

  async #append(before: Promise<void>, bytes: Uint8Array): Promise<void> {
    await before;
    try {
      for (let sent = 0; sent < bytes.length;) sent += await this.#write(bytes.subarray(sent));
    } catch {
      // The reading side notices the loss of the connection and ends the worker.
    }
  }
}
