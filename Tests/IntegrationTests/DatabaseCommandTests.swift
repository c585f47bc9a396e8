import Foundation
import Testing

/// `martlet db`, used as a person would.
@Suite(.serialized)
struct DatabaseCommandTests {
    private static let app = """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("pragma journal_mode = wal; create table if not exists notes (id integer primary key, text text)");
        export default {
          fetch(request: Request) {
            if (request.method === "POST") db.prepare("insert into notes (text) values (?)").run("a note");
            return new Response("count " + db.prepare("select count(*) as n from notes").get()!.n);
          },
        };
        """

    private static func deploy(_ host: HostFixture) async throws {
        let folder = host.folder.appending(path: "notes")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(app.utf8).write(to: folder.appending(path: "main.ts"))
        let deployed = try await host.martlet("deploy", folder.path, "--name", "notes")
        #expect(deployed.status == 0, "\(deployed.errors)")
    }

    private static func count(_ host: HostFixture, _ app: String = "notes") async throws -> String {
        try await host.request(app, "/").output.components(separatedBy: "\n")[0]
    }

    @Test func `databases are listed, asked, copied, forked and taken back to a time`() async throws {
        try await HostFixture.with { host in
            try await Self.deploy(host)
            for _ in 1...3 { _ = try await host.request("notes", "/", "-X", "POST") }
            let list = try await host.martlet("db", "list", "notes", "--json")
            #expect(list.output.contains("\"main.db\"") && list.status == 0, "\(list)")

            let asked = try await host.martlet(
                "db",
                "shell",
                "notes",
                "-c",
                "select count(*) as n from notes; select 'x;y'"
            )
            #expect(
                asked.status == 0 && asked.output.contains("3") && asked.output.contains("x;y"),
                "\(asked)"
            )
            let refused = try await host.martlet("db", "shell", "notes", "-c", "delete from notes")
            #expect(refused.status != 0 && refused.errors.contains("readonly"), "\(refused)")
            let wrong = try await host.martlet("db", "shell", "notes", "-c", "select * from no_such")
            #expect(wrong.status == 64 && wrong.errors.contains("no such table"), "\(wrong)")
            let wrote = try await host.martlet(
                "db",
                "shell",
                "notes",
                "--write",
                input: "insert into notes (text) values ('by hand');"
            )
            #expect(wrote.status == 0 && wrote.errors.contains("1 rows changed"), "\(wrote)")
            #expect(try await Self.count(host) == "count 4")

            let file = host.folder.appending(path: "copy.db").path
            let copied = try await host.martlet("db", "export", "notes", file)
            #expect(copied.status == 0, "\(copied.errors)")
            #expect(try Data(contentsOf: URL(filePath: file)).starts(with: Data("SQLite format 3".utf8)))
            #expect(try await host.martlet("db", "export", "notes", file).status == 64)

            try await Task.sleep(for: .milliseconds(1200))
            let before = Date().formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
            try await Task.sleep(for: .milliseconds(1200))
            for _ in 1...5 { _ = try await host.request("notes", "/", "-X", "POST") }
            let forked = try await host.martlet("db", "fork", "notes", "notes-copy")
            #expect(forked.status == 0, "\(forked.errors)")
            #expect(try await Self.count(host, "notes-copy") == "count 9")
            #expect(try await host.martlet("db", "fork", "notes", "notes-copy").status == 5)

            let restored = try await host.martlet("db", "restore", "notes", "--at", before, "--json")
            #expect(restored.status == 0, "\(restored.errors)")
            #expect(try await Self.count(host) == "count 4")
            let parsed = try JSONSerialization.jsonObject(with: Data(restored.output.utf8)) as? [String: Any]
            let safety = try #require(parsed?["fork"] as? String)
            #expect(try await Self.count(host, safety) == "count 9")
            _ = try await host.request("notes", "/", "-X", "POST")
            #expect(try await Self.count(host) == "count 5")

            let early = try await host.martlet("db", "restore", "notes", "--at", "2001-01-01T00:00:00Z")
            #expect(early.status == 1 || early.status == 2, "\(early)")
            #expect(early.errors.contains("2001-01-01"), "\(early.errors)")
            #expect(try await host.martlet("db", "restore", "notes", "--at", "yesterday").status == 64)
            #expect(try await Self.count(host) == "count 5")

            // It goes on across a kill, with what the shell and the restore have left behind.
            await host.kill()
            try await host.start()
            #expect(try await Self.count(host) == "count 5")
        }
    }
}
