import Foundation

/// An app that keeps rows, and says with each answer which host gives it and under which epoch.
enum WitnessApp {
    static let script = """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("pragma journal_mode = wal; pragma busy_timeout = 5000; create table if not exists kept (id text primary key)");
        const keep = db.prepare("insert into kept (id) values (?)");
        const has = db.prepare("select count(*) as n from kept where id = ?");
        export default {
          fetch(request, env) {
            const url = new URL(request.url);
            const id = url.searchParams.get("id") ?? "";
            const headers = { "Served-By": env.MARTLET_HOST ?? "", "Served-Epoch": env.MARTLET_EPOCH ?? "" };
            if (request.method === "POST") {
              keep.run(id);
              return new Response("kept", { headers });
            }
            if (url.pathname === "/all") {
              const rows = db.prepare("select id from kept").all().map((row) => row.id);
              return new Response(rows.join("\\n"), { headers });
            }
            return new Response(String(has.get(id).n), { headers });
          },
        };
        """

    /// Writes the app into a folder.
    static func write(to folder: URL, sleepAfter: String, durability: String) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(script.utf8).write(to: folder.appending(path: "main.js"))
        let settings = #"{ "sleepAfter": "\#(sleepAfter)", "durability": "\#(durability)" }"#
        try Data(settings.utf8).write(to: folder.appending(path: "martlet.json"))
    }
}
