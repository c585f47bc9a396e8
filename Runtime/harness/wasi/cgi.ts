import type { Context } from "../../martlet/context.ts";
import type { Application } from "../application.ts";
import { run } from "./preview1.ts";

/** The largest request body that a module is given, in bytes. */
const mostInputBytes = 8 << 20;
/** The largest answer of a module, in bytes. */
const mostOutputBytes = 64 << 20;
/** Where a module sees the folder of its databases. */
const dataName = "/data";

/**
 * An app whose main is a WASI command: it is run once for each request, in the manner of CGI (RFC 3875): the request's
 * meta-variables are its environment, the body its standard input, and what it writes is the answer: header lines, an
 * empty line, the body. `Status: 404 Not Found` sets the status.
 *
 * A run is synchronous, so that one request at a time is answered.
 */
export async function loadModule(path: string, data: string): Promise<Application> {
  const module = await WebAssembly.compile(await Deno.readFile(path));
  for (const { module: name } of WebAssembly.Module.imports(module)) {
    if (name !== "wasi_snapshot_preview1") {
      throw new TypeError(
        `${path} imports from "${name}"; only WASI preview 1 is there (build for wasm32-wasip1, as a command)`,
      );
    }
  }
  const names = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  if (!names.has("_start") || !names.has("memory")) {
    throw new TypeError(`${path} is no WASI command: it must export _start and memory`);
  }
  return {
    fetch: (request, env, context) => answer(module, request, env, context, data),
    scheduled: null,
    hooks: null,
  };
}

async function answer(
  module: WebAssembly.Module,
  request: Request,
  env: Record<string, string>,
  context: Context,
  data: string,
): Promise<Response> {
  if (Number(request.headers.get("content-length") ?? 0) > mostInputBytes) return tooLarge();
  const input = new Uint8Array(await request.arrayBuffer());
  if (input.length > mostInputBytes) return tooLarge();
  const output: Uint8Array[] = [];
  let size = 0;
  let errors = "";
  const decoder = new TextDecoder();
  const code = run(module, {
    arguments: ["main.wasm"],
    environment: {
      ...env,
      ...variables(request, input.length),
      MARTLET_DATA: dataName,
      MARTLET_REQUEST_ID: context.requestId,
    },
    input,
    folders: { [dataName]: data },
    onOutput(bytes) {
      size += bytes.length;
      if (size > mostOutputBytes) throw new RangeError(`the module wrote more than ${mostOutputBytes} bytes`);
      output.push(bytes);
    },
    onError(bytes) {
      errors += decoder.decode(bytes, { stream: true });
      const lines = errors.split("\n");
      errors = lines.pop()!;
      for (const line of lines) console.error(line);
    },
  });
  if (errors !== "") console.error(errors);
  if (code !== 0) throw new Error(`the module ended with status ${code}`);
  return parseAnswer(join(output, size));
}

/** The meta-variables of a request (RFC 3875, 4.1). */
export function variables(request: Request, bodyBytes: number): Record<string, string> {
  const url = new URL(request.url);
  const made: Record<string, string> = {
    GATEWAY_INTERFACE: "CGI/1.1",
    SERVER_PROTOCOL: "HTTP/1.1",
    SERVER_SOFTWARE: "martlet",
    SERVER_NAME: url.hostname,
    SERVER_PORT: url.port || (url.protocol === "https:" ? "443" : "80"),
    REQUEST_METHOD: request.method,
    REQUEST_URI: url.pathname + url.search,
    SCRIPT_NAME: "",
    PATH_INFO: decodePath(url.pathname),
    QUERY_STRING: url.search.slice(1),
  };
  if (url.protocol === "https:") made.HTTPS = "on";
  const type = request.headers.get("content-type");
  if (type !== null) made.CONTENT_TYPE = type;
  if (bodyBytes > 0) made.CONTENT_LENGTH = String(bodyBytes);
  for (const [name, value] of request.headers) {
    // A header called Proxy must not become the variable that programs take for their proxy.
    if (name === "content-type" || name === "content-length" || name === "proxy") continue;
    made[`HTTP_${name.toUpperCase().replaceAll("-", "_")}`] = value;
  }
  return made;
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Reads what a module wrote (RFC 3875, 6). */
export function parseAnswer(bytes: Uint8Array<ArrayBuffer>): Response {
  let at = 0;
  let status = 200;
  const headers = new Headers();
  for (;;) {
    const end = bytes.indexOf(10, at);
    if (end < 0) throw new Error("the module's answer has no empty line after its headers");
    const line = new TextDecoder().decode(bytes.subarray(at, end)).replace(/\r$/, "");
    at = end + 1;
    if (line === "") break;
    const colon = line.indexOf(":");
    if (colon <= 0) {
      throw new Error(`the module's answer begins with a line that is no header: ${line.slice(0, 80)}`);
    }
    const [name, value] = [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
    if (name === "status") status = Number(value.split(" ", 1)[0]);
    else headers.append(name, value);
  }
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new Error("the module's Status is no number from 200 to 599");
  }
  if (headers.has("location") && status === 200) status = 302;
  const hasBody = status !== 204 && status !== 304;
  return new Response(hasBody ? bytes.subarray(at) : null, { status, headers });
}

function join(parts: Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function tooLarge(): Response {
  return new Response(`the body is larger than ${mostInputBytes} bytes\n`, { status: 413 });
}
