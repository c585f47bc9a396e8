/** A guest book: a page with a form, and the same entries as JSON under /entries. */
import { DatabaseSync } from "node:sqlite";

const database = new DatabaseSync(`${Deno.env.get("MARTLET_DATA") ?? "."}/guestbook.db`);
database.exec(`
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    message TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
  ) STRICT;
`);
const insert = database.prepare(
  "INSERT INTO entries (name, message) VALUES (?, ?) RETURNING id, name, message, at",
);
const newest = database.prepare("SELECT id, name, message, at FROM entries ORDER BY id DESC LIMIT 50");

interface Entry {
  id: number;
  name: string;
  message: string;
  at: string;
}

const longestName = 80;
const longestMessage = 2_000;

export default {
  async fetch(request: Request, env: Record<string, string>): Promise<Response> {
    const { pathname } = new URL(request.url);
    switch (`${request.method} ${pathname}`) {
      case "GET /":
      case "HEAD /":
        return page(env.TITLE ?? "Guest book", entries());
      case "GET /entries":
        return Response.json(entries());
      case "POST /entries":
        return await sign(request);
      default:
        return new Response("not found\n", { status: 404 });
    }
  },
};

function entries(): Entry[] {
  return newest.all() as unknown as Entry[];
}

/** Takes a form or JSON; a form is answered with the page, JSON with the entry. */
async function sign(request: Request): Promise<Response> {
  const isJSON = request.headers.get("content-type")?.startsWith("application/json") ?? false;
  let name: unknown, message: unknown;
  try {
    if (isJSON) ({ name, message } = await request.json());
    else ({ name, message } = Object.fromEntries(await request.formData()));
  } catch {
    return new Response("the body is neither a form nor JSON\n", { status: 400 });
  }
  if (!isText(name, longestName) || !isText(message, longestMessage)) {
    const wanted = `name (1 to ${longestName} characters) and message (1 to ${longestMessage}) are needed\n`;
    return new Response(wanted, { status: 400 });
  }
  const entry = insert.get(name.trim(), message.trim());
  if (isJSON) return Response.json(entry, { status: 201 });
  return new Response(null, { status: 303, headers: { location: "/" } });
}

function isText(value: unknown, longest: number): value is string {
  return typeof value === "string" && value.trim() !== "" && value.length <= longest;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function page(title: string, entries: Entry[]): Response {
  const list = entries.map(({ name, message, at }) =>
    `<article><p>${escape(message)}</p><footer>${escape(name)}, <time>${at}</time></footer></article>`
  ).join("\n");
  const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escape(title)}</title>
<style>
  body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }
  form { display: grid; gap: .6rem; margin-bottom: 2rem; }
  input, textarea, button { font: inherit; padding: .5rem; }
  article { border-top: 1px solid #8884; padding: .4rem 0; }
  footer { color: #888; font-size: .85rem; }
</style>
<h1>${escape(title)}</h1>
<form method="post" action="/entries">
  <input name="name" placeholder="Your name" maxlength="${longestName}" required>
  <textarea name="message" placeholder="Your message" rows="3" maxlength="${longestMessage}" required></textarea>
  <button>Sign</button>
</form>
${list || "<p>Nobody has signed yet.</p>"}
</html>`;
  return new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } });
}
