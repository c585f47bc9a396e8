import { DatabaseSync } from "node:sqlite";
import { type Attack, data } from "./targets.ts";

/** Answers that are attacks. */
export const answers: Record<string, (request: Request) => Response | Promise<Response>> = {
  "split": () => {
    try {
      return new Response("x", { headers: { "x-evil": "a\r\nSet-Cookie: evil=1\r\n\r\nHTTP/1.1 200 OK\r\n" } });
    } catch {
      return new Response("refused", { headers: { "x-evil": "a" } });
    }
  },
  "headers": () => {
    const headers = new Headers();
    for (let index = 0; index < 400; index++) headers.set(`x-${index}`, "y".repeat(4000));
    return new Response("x", { headers });
  },
  "endless": () => {
    const chunk = new Uint8Array(65536).fill(120);
    return new Response(new ReadableStream({ pull: (controller) => controller.enqueue(chunk) }));
  },
  "slow": () =>
    new Response(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 500));
          controller.enqueue(new Uint8Array([120]));
        },
      }),
    ),
  "lying": () => new Response("short", { headers: { "content-length": "1000000" } }),
  "loop": () => {
    for (;;);
  },
  "never": () => new Promise<Response>(() => {}),
  "heap": () => {
    const kept: unknown[] = [];
    for (;;) kept.push({ text: "x".repeat(100) + kept.length });
  },
  "buffers": async () => {
    const kept: Uint8Array[] = [];
    for (;;) {
      kept.push(new Uint8Array(8 << 20).fill(1));
      await new Promise((resolve) => setTimeout(resolve));
    }
  },
  "wasm": () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
    for (;;) {
      memory.grow(256);
      new Uint8Array(memory.buffer).fill(1);
    }
  },
  "file": () => {
    const file = Deno.openSync(`${data}/large`, { write: true, create: true });
    const chunk = new Uint8Array(1 << 20);
    for (;;) file.writeSync(chunk);
  },
  "files": () => {
    const chunk = new Uint8Array(256 << 10);
    for (let index = 0;; index++) Deno.writeFileSync(`${data}/part-${index}`, chunk);
  },
  "inodes": () => {
    for (let index = 0;; index++) Deno.writeTextFileSync(`${data}/n${index}`, "");
  },
  "threads": async () => {
    const code = URL.createObjectURL(new Blob(["setInterval(() => {}, 1000)"], { type: "text/javascript" }));
    for (let index = 0; index < 1000; index++) {
      new Worker(code, { type: "module" });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return new Response("1000 threads");
  },
  "forks": async () => {
    let started = 0;
    for (let index = 0; index < 200; index++) {
      new Deno.Command("/bin/deno", { args: ["eval", "setInterval(() => {}, 1000)"] }).spawn();
      started++;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return new Response(`${started} processes`);
  },
  "log": async () => {
    const line = "x".repeat(1000);
    for (let index = 0; index < 20_000; index++) console.log(line, index);
    await Promise.resolve();
    return new Response("logged");
  },
  "socket": (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onopen = () => {
      for (let index = 0; index < 1000; index++) socket.send("x".repeat(10_000));
    };
    return response;
  },
};

export const bombs: Record<string, Attack> = {
  "fill temporary files": () => {
    let written = 0;
    try {
      const file = Deno.openSync("/tmp/large", { write: true, create: true });
      for (; written < 512; written++) file.writeSync(new Uint8Array(1 << 20));
    } catch {
      // Full, as it should be.
    }
    Deno.removeSync("/tmp/large");
    return written >= 128 ? `${written} MiB in /tmp` : null;
  },
  "open too many files": () => {
    const open: Deno.FsFile[] = [];
    try {
      for (let index = 0; index < 100_000; index++) open.push(Deno.openSync("/app/main.ts"));
    } catch {
      // The limit, as it should be.
    }
    const count = open.length;
    for (const file of open) file.close();
    return count > 5000 ? `${count} files are open` : null;
  },
  "hold the lock of the own database": () => {
    const database = new DatabaseSync(`${data}/locked.db`);
    database.exec("pragma journal_mode = wal; create table if not exists t (n); begin exclusive; insert into t values (1)");
    (globalThis as unknown as { held: unknown }).held = database;
    return null;
  },
  "corrupt the own database": () => {
    const path = `${data}/broken.db`;
    const database = new DatabaseSync(path);
    database.exec("pragma journal_mode = wal; create table if not exists t (n); insert into t values (1)");
    const noise = crypto.getRandomValues(new Uint8Array(8192));
    for (const name of [path, `${path}-wal`, `${path}-shm`]) Deno.writeFileSync(name, noise);
    return null;
  },
  "forge messages to the host": () => {
    // Whatever descriptor is the control connection: lines that would end or replace the worker if they were believed.
    for (const entry of Deno.readDirSync("/proc/self/fd")) {
      try {
        if (!Deno.readLinkSync(`/proc/self/fd/${entry.name}`).startsWith("socket:")) continue;
        Deno.writeTextFileSync(`/proc/self/fd/${entry.name}`, '{"type":"stopped"}\n');
        return `wrote to descriptor ${entry.name}`;
      } catch {
        // Sockets cannot be opened by path.
      }
    }
    return null;
  },
};
