/** A WebSocket client (RFC 6455) over a unix socket; Deno's own client cannot use one. */

/** A message, or the close frame when `code` is there. */
export interface Frame {
  text: string;
  code?: number;
}

export interface WebSocketClient {
  send(text: string): Promise<void>;
  /** The next message or the close frame, which is answered. */
  next(): Promise<Frame>;
  close(code?: number): Promise<void>;
}

export async function connectWebSocket(
  path: string,
  target: string,
  headers: Record<string, string> = {},
): Promise<WebSocketClient> {
  const connection = await Deno.connect({ transport: "unix", path });
  const extra = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  await connection.write(new TextEncoder().encode(
    `GET ${target} HTTP/1.1\r\nHost: test.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`,
  ));
  let buffer = new Uint8Array(0);
  const more = async () => {
    const chunk = new Uint8Array(16384);
    const count = await connection.read(chunk);
    if (count === null) throw new Error("the server closed the connection");
    const all = new Uint8Array(buffer.length + count);
    all.set(buffer);
    all.set(chunk.subarray(0, count), buffer.length);
    buffer = all;
  };
  const take = async (count: number) => {
    while (buffer.length < count) await more();
    const taken = buffer.slice(0, count);
    buffer = buffer.slice(count);
    return taken;
  };
  let head = "";
  while (!head.endsWith("\r\n\r\n")) head += String.fromCharCode((await take(1))[0]!);
  if (!head.startsWith("HTTP/1.1 101")) {
    connection.close();
    throw new Error(`no upgrade: ${head}`);
  }
  const write = async (opcode: number, payload: Uint8Array) => {
    const long = payload.length > 125;
    const frame = new Uint8Array((long ? 8 : 6) + payload.length);
    frame[0] = 0x80 | opcode;
    frame[1] = 0x80 | (long ? 126 : payload.length);
    if (long) new DataView(frame.buffer).setUint16(2, payload.length);
    const mask = [1, 2, 3, 4];
    frame.set(mask, long ? 4 : 2);
    payload.forEach((byte, i) => frame[(long ? 8 : 6) + i] = byte ^ mask[i % 4]!);
    await connection.write(frame);
  };
  const closeWith = async (code: number) => {
    await write(8, new Uint8Array([code >> 8, code & 255])).catch(() => {});
  };
  return {
    send: (text) => write(1, new TextEncoder().encode(text)),
    async next() {
      for (;;) {
        const [first, second] = await take(2) as unknown as [number, number];
        let length = second & 0x7f;
        if (length === 126) length = new DataView((await take(2)).buffer).getUint16(0);
        else if (length === 127) length = Number(new DataView((await take(8)).buffer).getBigUint64(0));
        const payload = await take(length);
        const opcode = first & 15;
        if (opcode === 9) await write(10, payload);
        if (opcode === 1) return { text: new TextDecoder().decode(payload) };
        if (opcode === 8) {
          const code = payload.length < 2 ? 1005 : payload[0]! * 256 + payload[1]!;
          await closeWith(code);
          connection.close();
          return { code, text: new TextDecoder().decode(payload.subarray(2)) };
        }
      }
    },
    async close(code = 1000) {
      await closeWith(code);
      try {
        while (true) await more();
      } catch { /* The server closed. */ }
      connection.close();
    },
  };
}
