/** A chat room. Everyone who comes gets the latest messages, then every new one. */
import { DatabaseSync } from "node:sqlite";

const database = new DatabaseSync(`${Deno.env.get("MARTLET_DATA") ?? "."}/chat.db`);
database.exec(`
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL
  ) STRICT;
`);
const insert = database.prepare(
  "INSERT INTO messages (name, text, at) VALUES (?, ?, ?) RETURNING id, name, text, at",
);
const after = database.prepare(
  "SELECT * FROM (SELECT id, name, text, at FROM messages WHERE id > ? ORDER BY id DESC LIMIT 100) ORDER BY id",
);

/** The open connections; each has a name. */
const people = new Map<WebSocket, string>();
const longestText = 4_000;

export default {
  fetch(request: Request): Response {
    const url = new URL(request.url);
    if (url.pathname === "/live") {
      if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
        return new Response("a WebSocket is needed here\n", {
          status: 426,
          headers: { upgrade: "websocket" },
        });
      }
      return join(request, url);
    }
    if (url.pathname === "/") {
      return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
    }
    return new Response("not found\n", { status: 404 });
  },
};

/** A client that comes back says the last message it saw, and misses none. */
function join(request: Request, url: URL): Response {
  const { socket, response } = Deno.upgradeWebSocket(request);
  const name = (url.searchParams.get("name") ?? "").trim().slice(0, 40) || "somebody";
  const last = Number(url.searchParams.get("after") ?? 0);
  socket.onopen = () => {
    for (const message of after.all(Number.isSafeInteger(last) ? last : 0)) {
      socket.send(JSON.stringify(message));
    }
    people.set(socket, name);
    tellPeople();
  };
  socket.onmessage = ({ data }) => {
    if (typeof data !== "string" || data.trim() === "") return;
    if (data.length > longestText) return socket.close(1009, `at most ${longestText} characters`);
    tell(insert.get(name, data, Date.now()));
  };
  socket.onclose = () => {
    people.delete(socket);
    tellPeople();
  };
  return response;
}

function tellPeople(): void {
  tell({ people: [...people.values()] });
}

function tell(message: unknown): void {
  const text = JSON.stringify(message);
  for (const socket of people.keys()) if (socket.readyState === WebSocket.OPEN) socket.send(text);
}

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Chat</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; }
  #log { height: 60vh; overflow-y: auto; border: 1px solid #8884; padding: .5rem; }
  #who { color: #888; font-size: .85rem; }
  form { display: flex; gap: .5rem; margin-top: .5rem; }
  input { font: inherit; padding: .5rem; flex: 1; }
</style>
<h1>Chat</h1>
<p id="who">connecting …</p>
<div id="log"></div>
<form><input autocomplete="off" placeholder="Say something" autofocus></form>
<script type="module">
  const name = prompt("Your name?") || "somebody";
  const log = document.querySelector("#log"), who = document.querySelector("#who"), input = document.querySelector("input");
  let socket, last = 0, wait = 200;
  function connect() {
    socket = new WebSocket(\`\${location.protocol.replace("http", "ws")}//\${location.host}/live?\${new URLSearchParams({ name, after: last })}\`);
    socket.onmessage = ({ data }) => {
      wait = 200;
      const message = JSON.parse(data);
      if (message.people) return who.textContent = message.people.join(", ");
      last = message.id;
      const line = document.createElement("div");
      line.textContent = \`\${message.name}: \${message.text}\`;
      log.append(line);
      log.scrollTop = log.scrollHeight;
    };
    // The app restarts now and then (a new version, another host): come back.
    socket.onclose = () => { who.textContent = "connecting …"; setTimeout(connect, wait = Math.min(wait * 2, 5000)); };
  }
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    if (input.value && socket.readyState === WebSocket.OPEN) { socket.send(input.value); input.value = ""; }
  };
  connect();
</script>
</html>`;
