import { database, serve } from "martlet";

const db = database();
db.exec(
  "CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL) STRICT",
);
const insert = db.prepare("INSERT INTO messages (name, text) VALUES (?, ?) RETURNING id, name, text");
const latest = db.prepare("SELECT * FROM (SELECT * FROM messages ORDER BY id DESC LIMIT 100) ORDER BY id");

const people = new Set<WebSocket>();

/** Everyone hears what anyone says, and first the latest messages. */
export function live(socket: WebSocket, name = "somebody"): void {
  socket.onopen = () => {
    people.add(socket);
    for (const message of latest.all()) socket.send(JSON.stringify(message));
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.stringify(insert.get(name, String(data).slice(0, 4_000)));
    for (const other of people) if (other.readyState === WebSocket.OPEN) other.send(message);
  };
  socket.onclose = () => people.delete(socket);
}

/** The page. */
export function page(): Response {
  return new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } });
}

export default serve({ "GET /": page, "WS /live": live });

const html = `<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<h1>Chat</h1>
<div id="log"></div>
<form><input autocomplete="off" autofocus> <button>Send</button></form>
<script type="module">
  const input = document.querySelector("input");
  let socket;
  function connect() {
    document.querySelector("#log").replaceChildren();
    socket = new WebSocket("/live?name=" + encodeURIComponent(localStorage.name ??= prompt("Your name?") || "somebody"));
    socket.onmessage = ({ data }) => {
      const { name, text } = JSON.parse(data);
      document.querySelector("#log").append(name + ": " + text, document.createElement("br"));
    };
    socket.onclose = () => setTimeout(connect, 1000);
  }
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    socket.send(input.value);
    input.value = "";
  };
  connect();
</script>`;
