/** A counter that everybody sees at once: server-sent events that a client can resume. */
import { DatabaseSync } from "node:sqlite";

const database = new DatabaseSync(`${Deno.env.get("MARTLET_DATA") ?? "."}/ticker.db`);
database.exec(`
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS presses (id INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
`);
const press = database.prepare("INSERT INTO presses (at) VALUES (?) RETURNING id, at");
const missed = database.prepare("SELECT id, at FROM presses WHERE id > ? ORDER BY id LIMIT 1000");
const count = database.prepare("SELECT max(id) AS last FROM presses");

interface Press {
  id: number;
  at: number;
}

const listeners = new Set<(press: Press) => void>();
const encoder = new TextEncoder();
/** A comment now and then shows proxies that the stream lives. */
const heartbeatMs = 15_000;

interface Context {
  signal: AbortSignal;
}

export default {
  fetch(request: Request, _env: Record<string, string>, context: Context): Response {
    const { pathname } = new URL(request.url);
    switch (`${request.method} ${pathname}`) {
      case "GET /":
        return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
      case "POST /press": {
        const made = press.get(Date.now()) as unknown as Press;
        for (const listener of listeners) listener(made);
        return Response.json(made, { status: 201 });
      }
      case "GET /events":
        return events(request, context);
      default:
        return new Response("not found\n", { status: 404 });
    }
  },
};

/** Sends what the client missed since `Last-Event-ID`, or the latest, and then every press. */
function events(request: Request, context: Context): Response {
  const seen = request.headers.get("last-event-id");
  const since = seen === null ? Number(count.get()?.last ?? 0) - 1 : Number(seen);
  let stop = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const send = ({ id, at }: Press) => {
        controller.enqueue(
          encoder.encode(`id: ${id}\nevent: press\ndata: ${JSON.stringify({ id, at })}\n\n`),
        );
      };
      controller.enqueue(encoder.encode("retry: 500\n\n"));
      for (const press of missed.all(Number.isSafeInteger(since) ? since : 0) as unknown as Press[]) {
        send(press);
      }
      const heartbeat = setInterval(() => controller.enqueue(encoder.encode(": here\n\n")), heartbeatMs);
      const end = () => {
        stop();
        controller.close();
      };
      listeners.add(send);
      // The app stops or moves: the stream ends, and the browser comes back by itself.
      context.signal.addEventListener("abort", end);
      stop = () => {
        listeners.delete(send);
        clearInterval(heartbeat);
        context.signal.removeEventListener("abort", end);
      };
    },
    cancel() {
      stop();
    },
  });
  return new Response(body, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
  });
}

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Ticker</title>
<style>
  body { font: 1.2rem/1.5 system-ui, sans-serif; text-align: center; margin-top: 20vh; }
  #count { font-size: 6rem; margin: 0; }
  button { font: inherit; padding: .5rem 2rem; }
</style>
<p id="count">0</p>
<button>Press</button>
<script type="module">
  document.querySelector("button").onclick = () => fetch("/press", { method: "POST" });
  new EventSource("/events").addEventListener("press", ({ lastEventId }) => {
    document.querySelector("#count").textContent = lastEventId;
  });
</script>
</html>`;
