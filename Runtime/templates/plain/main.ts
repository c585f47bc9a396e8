import { DatabaseSync } from "node:sqlite";

// Every SQLite file under MARTLET_DATA is kept, copied and moved with the app.
const db = new DatabaseSync(`${Deno.env.get("MARTLET_DATA") ?? "."}/main.db`);
db.exec("CREATE TABLE IF NOT EXISTS visits (at TEXT NOT NULL DEFAULT current_timestamp) STRICT");
const visit = db.prepare("INSERT INTO visits DEFAULT VALUES");
const count = db.prepare("SELECT count(*) AS visits FROM visits");

export default {
  fetch(request: Request): Response {
    const { pathname } = new URL(request.url);
    if (pathname !== "/") return new Response("not found\n", { status: 404 });
    visit.run();
    return Response.json(count.get());
  },
};
