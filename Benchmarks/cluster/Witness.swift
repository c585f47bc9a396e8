import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

/// The app that is moved: it keeps numbers, and says with each answer who gives it as which epoch.
enum Witness {
    static let files = [
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("pragma journal_mode = wal; pragma synchronous = normal; pragma wal_autocheckpoint = 0; pragma busy_timeout = 5000");
        db.exec("create table if not exists kept (id integer primary key)");
        db.exec("create table if not exists filling (bytes blob)");
        const keep = db.prepare("insert into kept values (?)");
        const has = db.prepare("select count(*) as n from kept where id <= ?");
        const fill = db.prepare("insert into filling values (randomblob(10000))");
        export default {
          fetch(request: Request, env: Record<string, string>) {
            const url = new URL(request.url);
            const id = Number(url.searchParams.get("id") ?? "0");
            const headers = { "Served-By": env.MARTLET_HOST ?? "", "Served-Epoch": env.MARTLET_EPOCH ?? "" };
            if (url.pathname === "/fill") {
              db.exec("begin");
              for (let n = 0; n < Number(url.searchParams.get("n")); n++) fill.run();
              db.exec("commit");
              return new Response("filled", { headers });
            }
            if (url.pathname === "/all") {
              return new Response(db.prepare("select id from kept").all().map((row) => row.id).join(" "), { headers });
            }
            if (request.method === "POST") {
              keep.run(id);
              return new Response("kept", { headers });
            }
            return new Response(String((has.get(id % 100) as { n: number }).n), { headers });
          },
        };
        """
    ]

    @discardableResult
    static func get(_ path: String, of app: String = "witness", port: UInt16) async throws -> String {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.headers.add(name: "Host", value: "\(app).localhost")
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(60))
        return String(buffer: try await response.body.collect(upTo: 64 << 20))
    }

    static func kept(of app: String = "witness", port: UInt16) async throws -> Set<Int> {
        Set(try await get("/all", of: app, port: port).split(separator: " ").compactMap { Int($0) })
    }
}

/// The load generator's process.
struct Generator {
    private let process: Process
    private let input: Pipe
    private let lines: Task<[Load.Outcome], Never>

    init(ports: [UInt16], rate: Int, apps: [String] = ["witness"]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = [
            "load", "--ports", ports.map(String.init).joined(separator: ","), "--writes", "\(rate)",
            "--reads",
            "\(rate)", "--apps", apps.joined(separator: ","),
        ]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        self.process = process
        self.input = input
        // It reads until the generator has ended.
        lines = Task.detached {
            let data = (try? output.fileHandleForReading.readToEnd()) ?? Data()
            return String(decoding: data, as: UTF8.self).split(separator: "\n").compactMap(
                Load.Outcome.init(line:)
            )
        }
    }

    func stop() async -> [Load.Outcome] {
        input.fileHandleForWriting.closeFile()
        return await lines.value
    }
}
