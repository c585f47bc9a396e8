/**
 * A small host for tests: it starts a real worker in a temporary folder, hands it an app over the
 * control socket, and talks HTTP to it. Everything is cleaned up, also when a test fails.
 */
import { fromFileUrl, join } from "./paths.ts";

/** Generous, because tests share the machine. */
const patienceMs = 60_000;

export const runtimeFolder = fromFileUrl(new URL("../", import.meta.url));

/** The flags that the host gives to every worker, and those of its folders. */
export async function workerFlags(folders: { app: string; data: string; run: string }): Promise<string[]> {
  const fixed: string[] = JSON.parse(await Deno.readTextFile(join(runtimeFolder, "flags.json")));
  return [
    ...fixed,
    `--allow-read=${folders.app},${folders.data},${folders.run},${runtimeFolder}`,
    `--allow-write=${folders.data},${folders.run}`,
  ];
}

/** One log record of the worker. */
export interface Record_ {
  level: string;
  requestId: string | null;
  text: string;
  time: string;
  source?: string;
}

export interface StartOptions {
  main?: string;
  env?: Record<string, string>;
  limits?: Record<string, number>;
  schema?: string;
  app?: string;
}

/** A worker process as the host sees it. */
export class TestWorker {
  readonly folder: string;
  readonly app: string;
  readonly data: string;
  readonly messages: Record<string, any>[] = [];
  stdout = "";
  stderr = "";
  readonly #child: Deno.ChildProcess;
  readonly #serve: string;
  readonly #host: Deno.UnixConn;
  readonly #client: Deno.HttpClient;
  readonly #changed: (() => void)[] = [];
  readonly #pumps: Promise<unknown>[];
  /** Lines without the worker's key. */
  readonly forged: string[] = [];
  key = "";

  constructor(
    folder: string,
    app: string,
    data: string,
    child: Deno.ChildProcess,
    host: Deno.UnixConn,
    serve: string,
  ) {
    this.folder = folder;
    this.app = app;
    this.data = data;
    this.#child = child;
    this.#host = host;
    this.#serve = serve;
    this.#client = Deno.createHttpClient({ proxy: { transport: "unix", path: serve } });
    this.#pumps = [
      this.#pump(child.stdout, (text) => this.stdout += text),
      this.#pump(child.stderr, (text) => this.stderr += text),
      this.#readMessages(),
    ];
  }

  /** Path of the worker's HTTP socket. */
  get socket(): string {
    return this.#serve;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The log records so far. */
  get logs(): Record_[] {
    return this.stdout.split("\n").filter((line) => line.startsWith("\x1e")).map((line) =>
      JSON.parse(line.slice(1))
    );
  }

  /** Standard output without the records. */
  get plain(): string {
    return this.stdout.split("\n").filter((line) => !line.startsWith("\x1e")).join("\n");
  }

  async send(message: unknown): Promise<void> {
    await this.sendText(JSON.stringify(message) + "\n");
  }

  async sendText(text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    for (let sent = 0; sent < bytes.length;) sent += await this.#host.write(bytes.subarray(sent));
  }

  /** Waits until `find` gives something other than undefined, looking after each message or output. */
  async until<Value>(what: string, find: () => Value | undefined | false): Promise<Value> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const value = find();
      if (value !== undefined && value !== false) return value;
      const left = deadline - performance.now();
      if (left <= 0) {
        throw new Error(
          `waited ${patienceMs} ms for ${what}\nmessages: ${
            JSON.stringify(this.messages)
          }\nstdout: ${this.stdout}\nstderr: ${this.stderr}`,
        );
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#changed.push(resolve);
        timer = setTimeout(resolve, Math.min(left, 1000));
      });
      clearTimeout(timer);
    }
  }

  /** The first message of a type, or of one of some types. */
  message(...types: string[]): Promise<Record<string, any>> {
    return this.until(
      `a message ${types.join(" or ")}`,
      () => this.messages.find((m) => types.includes(m.type)),
    );
  }

  /** Hands the app over and waits for `started` or `failed`. */
  async start(options: StartOptions = {}): Promise<Record<string, any>> {
    await this.send({
      type: "start",
      app: options.app ?? "test",
      version: "0".repeat(64),
      main: join(this.app, options.main ?? "main.ts"),
      data: this.data,
      env: options.env ?? {},
      limits: options.limits ?? {},
      schema: options.schema,
    });
    return await this.message("started", "failed");
  }

  /** Sends a request with the client's host name. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://test.localhost${path}`, { ...init, client: this.#client } as RequestInit);
  }

  /** Sends the bytes of a request and returns everything that comes back until the other side closes. */
  async raw(text: string): Promise<string> {
    const connection = await Deno.connect({ transport: "unix", path: this.#serve });
    try {
      await connection.write(new TextEncoder().encode(text));
      return await new Response(connection.readable).text();
    } finally {
      try {
        connection.close();
      } catch { /* The stream closed it. */ }
    }
  }

  /** Asks the worker to stop and waits for its end. */
  async stop(options: Record<string, unknown> = {}): Promise<Deno.CommandStatus> {
    await this.send({ type: "stop", reason: "sleep", ...options });
    return await this.end();
  }

  /** Waits for the end of the process and of its output. */
  async end(): Promise<Deno.CommandStatus> {
    const status = await this.#child.status;
    await Promise.all(this.#pumps);
    return status;
  }

  /** Closes the control connection, as a host that dies does. */
  hangUp(): void {
    this.#host.close();
  }

  async dispose(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* Ended already. */ }
    await this.#child.status;
    try {
      this.#host.close();
    } catch { /* Closed already. */ }
    await Promise.allSettled(this.#pumps);
    this.#client.close();
  }

  async #pump(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream() as any) as ReadableStream<string>) {
      add(text);
      this.#wake();
    }
  }

  async #readMessages(): Promise<void> {
    const buffer = new Uint8Array(65536);
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      let count: number | null;
      try {
        count = await this.#host.read(buffer);
      } catch {
        count = null;
      }
      if (count === null) return;
      rest += decoder.decode(buffer.subarray(0, count), { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const message = JSON.parse(line);
        if (message.type === "ready") this.key = message.key;
        // As the host does: a line without the key comes from user code.
        if (message.key === this.key) this.messages.push(message);
        else this.forged.push(line);
      }
      this.#wake();
    }
  }

  #wake(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }
}

/** Runs a test with a worker that is ready and has the given files in its app folder, or an app folder that exists. */
export async function withWorker(
  files: Record<string, string | Uint8Array>,
  body: (worker: TestWorker) => Promise<void>,
  options: { sourceFolder?: string; data?: string } = {},
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "martlet-" });
  let worker: TestWorker | undefined;
  try {
    const folders = {
      app: options.sourceFolder ?? join(folder, "app"),
      data: options.data ?? join(folder, "data"),
      run: join(folder, "run"),
    };
    await Deno.mkdir(join(folder, "app"));
    await Deno.mkdir(folders.data, { recursive: true });
    await Deno.mkdir(folders.run);
    for (const [name, content] of Object.entries(files)) {
      const path = join(folders.app, name);
      await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      if (typeof content === "string") await Deno.writeTextFile(path, content);
      else await Deno.writeFile(path, content);
    }
    const serve = join(folders.run, "app.sock");
    const control = join(folders.run, "control.sock");
    const listener = Deno.listen({ transport: "unix", path: control });
    const flags = await workerFlags(folders);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", ...flags, join(runtimeFolder, "harness.ts"), "--serve", serve, "--control", control],
      clearEnv: true,
      env: {
        PATH: "/usr/bin:/bin",
        HOME: folder,
        NO_COLOR: "1",
        DENO_DIR: Deno.env.get("DENO_DIR") ?? join(folder, "deno"),
        DENO_NO_UPDATE_CHECK: "1",
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let host: Deno.UnixConn;
    try {
      host = await Promise.race([
        listener.accept() as Promise<Deno.UnixConn>,
        child.status.then(async (status) => {
          throw new Error(`the worker ended with ${status.code}: ${await new Response(child.stderr).text()}`);
        }),
      ]);
    } finally {
      listener.close();
    }
    await Deno.remove(control).catch(() => {});
    worker = new TestWorker(folder, folders.app, folders.data, child, host, serve);
    await worker.message("ready");
    await body(worker);
  } finally {
    await worker?.dispose();
    await Deno.remove(folder, { recursive: true });
  }
}

/** Makes the schema file of an app as a deploy does, and returns its path and what could not be checked. */
export async function annotateApp(
  worker: TestWorker,
  main = "main.ts",
): Promise<
  { path: string; schema: any; warnings: { where: string; message: string; module: string; line?: number }[] }
> {
  const path = join(worker.data, "schema.json");
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-read",
      `--allow-write=${worker.data}`,
      `--allow-run=${Deno.execPath()}`,
      join(runtimeFolder, "annotate.ts"),
      "--main",
      join(worker.app, main),
      "--out",
      path,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  if (code !== 0) throw new Error(`annotate ended with ${code}: ${new TextDecoder().decode(stderr)}`);
  const lines = new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
  return {
    path,
    schema: JSON.parse(await Deno.readTextFile(path)),
    warnings: lines.map((line) => JSON.parse(line)),
  };
}
