import ArgumentParser
import Control
import Foundation

/// `martlet init`.
struct Init: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Write a first app: a counter with a database.")

    @Argument(help: "The folder to write to.", completion: .directory) var folder = "."
    @Option(help: "The app's name; without it the folder's.") var name: String?

    func run() async throws {
        let url = URL(filePath: folder).standardizedFileURL
        let app = try ApplicationID(validating: name ?? url.lastPathComponent.lowercased())
        let files = [
            "main.ts": Self.script,
            ApplicationSettings.fileName: """
            {
              // The first part of the app's address.
              "name": "\(app)",
              // Without requests for this long the app sleeps; the next request wakes it.
              "sleepAfter": "60s",
            }

            """,
            ".gitignore": "node_modules/\n.env\n.martlet/\n",
        ]
        for file in files.keys.sorted()
        where FileManager.default.fileExists(atPath: url.appending(path: file).path) {
            throw MartletError(
                .conflict,
                "\(url.appending(path: file).path) is there already; nothing was written"
            )
        }
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        for (file, text) in files { try Data(text.utf8).write(to: url.appending(path: file)) }
        Terminal.note("wrote \(files.keys.sorted().joined(separator: ", ")) to \(url.path)")
        Terminal.note("next: martlet deploy \(folder)")
    }

    private static let script = """
        import { DatabaseSync } from "node:sqlite";

        const db = new DatabaseSync(`${Deno.env.get("MARTLET_DATA")}/main.db`);
        db.exec("CREATE TABLE IF NOT EXISTS visits (at TEXT NOT NULL)");

        export default {
          fetch(_request: Request): Response {
            db.prepare("INSERT INTO visits VALUES (?)").run(new Date().toISOString());
            const row = db.prepare("SELECT count(*) AS count FROM visits").get();
            return new Response(`You are visitor ${row?.count}.\\n`);
          },
        };

        """
}
