import { problem } from "./http_error.ts";
import { stopSignal } from "./internal/hooks.ts";
import type { HandlerSchema } from "./schema.ts";

/** How often a silent event stream sends a comment, in milliseconds. */
const heartbeatMs = 15_000;

/** One event of a stream with more than data. */
export interface ServerEvent {
  data: unknown;
  event?: string;
  id?: string | number;
  retry?: number;
}

/** Turns what a handler returned into an answer. */
export function respond(value: unknown, schema: HandlerSchema | null): Response {
  // Most answers are plain objects: they need not be asked what else they are.
  if (typeof value === "object" && value !== null) {
    const prototype = Object.getPrototypeOf(value);
    if (
      (prototype === Object.prototype && !(Symbol.asyncIterator in value)) || prototype === Array.prototype
    ) {
      return json(value);
    }
  }
  if (value instanceof Response) return value;
  if (value === undefined) return new Response(null, { status: 204 });
  if (value === null) {
    return schema?.returns.isNullable ? problem(404, "there is no such thing") : Response.json(null);
  }
  if (typeof value === "string") return new Response(value);
  if (typeof value === "object") {
    if (Symbol.asyncIterator in value && !(value instanceof ReadableStream)) {
      return eventStream(value as AsyncIterable<unknown>);
    }
    if (value instanceof ReadableStream || value instanceof Uint8Array || value instanceof ArrayBuffer) {
      return new Response(value as BodyInit, { headers: { "content-type": "application/octet-stream" } });
    }
    if (value instanceof Blob || value instanceof FormData) return new Response(value);
  }
  return json(value);
}

function json(value: unknown): Response {
  try {
    return Response.json(value);
  } catch (error) {
    if (!isAboutBigInt(error)) throw error;
    return new Response(toJSON(value), { headers: { "content-type": "application/json" } });
  }
}

function isAboutBigInt(error: unknown): boolean {
  return error instanceof TypeError && /BigInt/.test(error.message);
}

/** JSON with bigints as text, as the schema says. */
function toJSON(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "null";
  } catch (error) {
    if (!isAboutBigInt(error)) throw error;
    return JSON.stringify(value, (_key, part) => typeof part === "bigint" ? String(part) : part);
  }
}

/** Server-sent events (HTML standard, 9.2): one for each value, until the client or the worker goes. */
export function eventStream(values: AsyncIterable<unknown>): Response {
  const iterator = values[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  let isOpen = true;
  let heartbeat: ReturnType<typeof setInterval> | undefined;
  let finish = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(encoder.encode(": open\n\n"));
      heartbeat = setInterval(() => controller.enqueue(encoder.encode(": here\n\n")), heartbeatMs);
      finish = () => {
        if (!isOpen) return;
        isOpen = false;
        clearInterval(heartbeat);
        stopSignal.removeEventListener("abort", end);
        // The iterator may be waiting; it is told, not awaited.
        Promise.resolve(iterator.return?.()).catch((error) => console.error(error));
      };
      const end = () => {
        finish();
        controller.close();
      };
      stopSignal.addEventListener("abort", end);
    },
    async pull(controller) {
      try {
        const { value, done } = await iterator.next();
        if (!isOpen) return;
        if (done) {
          finish();
          controller.close();
        } else {
          controller.enqueue(encoder.encode(formatEvent(value)));
        }
      } catch (error) {
        console.error(error);
        if (!isOpen) return;
        finish();
        controller.error(error);
      }
    },
    cancel() {
      finish();
    },
  });
  return new Response(body, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
  });
}

const eventKeys = new Set(["data", "event", "id", "retry"]);

/** The text of one event; line breaks in names cannot smuggle in fields. */
export function formatEvent(value: unknown): string {
  const isEvent = typeof value === "object" && value !== null && "data" in value &&
    Object.keys(value).every((key) => eventKeys.has(key)) && Object.keys(value).length > 1;
  const { data, event, id, retry } = isEvent ? value as ServerEvent : { data: value } as ServerEvent;
  const clean = (text: unknown) => String(text).replace(/[\r\n\0]/g, " ");
  let text = "";
  if (id !== undefined) text += `id: ${clean(id)}\n`;
  if (event !== undefined) text += `event: ${clean(event)}\n`;
  if (retry !== undefined) text += `retry: ${Math.max(0, Math.trunc(retry))}\n`;
  return `${text}data: ${toJSON(data === undefined ? null : data)}\n\n`;
}
