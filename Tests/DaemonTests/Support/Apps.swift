/// Small apps that tests deploy.
enum Apps {
    /// Answers with a text that tells versions apart.
    static func saying(_ text: String) -> [String: String] {
        ["main.ts": "export default { fetch() { return new Response(\"\(text)\"); } };\n"]
    }

    /// Counts its requests in a database.
    static let counter = [
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("create table if not exists visits (n integer)");
        export default {
          fetch() {
            db.prepare("insert into visits values (1)").run();
            return new Response(String(db.prepare("select count(*) as n from visits").get().n));
          },
        };
        """
    ]

    /// Sleeps in the request, ends itself, or shows a variable.
    static let odd = [
        "main.ts": """
        export default {
          async fetch(request: Request, env: Record<string, string>, ctx: { waitUntil(p: Promise<unknown>): void }) {
            const url = new URL(request.url);
            if (url.pathname === "/slow") await new Promise((done) => setTimeout(done, 1000));
            if (url.pathname === "/exit") Deno.exit(7);
            if (url.pathname === "/later") ctx.waitUntil(new Promise((done) => setTimeout(done, 1500)));
            if (url.pathname === "/pid") return new Response(String(Deno.pid));
            if (url.pathname === "/log") console.error("something is odd", url.search);
            if (url.pathname === "/env") return new Response(env.GREETING ?? "none");
            if (url.pathname === "/live") {
              const { socket, response } = Deno.upgradeWebSocket(request);
              socket.onmessage = (event) => socket.send(event.data);
              return response;
            }
            return new Response("ok");
          },
        };
        """
    ]
}
