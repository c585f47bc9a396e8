import Control
import Daemon
import Foundation
import Replication

extension Main {
    /// Asleep to first byte of an app that reads from a local database of 100 MB: on a host without a store, and on one with
    /// SeaweedFS, with and without the gate.
    static func databaseWake(rounds: Int) async throws {
        try await Site.with { plain in
            try await Site.withS3 { replicated, _ in
                for (site, app, durability) in [
                    (plain, "alone", "async"), (replicated, "async", "async"), (replicated, "gated", "gated"),
                ] {
                    try await site.deploy(
                        app,
                        [
                            "main.ts": Site.large,
                            "martlet.json": "{ \"name\": \"\(app)\", \"durability\": \"\(durability)\" }",
                        ]
                    )
                    let filled = await Client.send(host: "\(app).localhost", port: site.port, path: "/fill")
                    guard filled.status == 200 else {
                        throw BenchmarkFailure("\(app): filling it was answered with \(filled.status)")
                    }
                }
                var times: [String: [Double]] = [:]
                for round in 0...rounds {
                    for (site, app) in [(plain, "alone"), (replicated, "async"), (replicated, "gated")] {
                        let id = try ApplicationID(validating: app)
                        try await site.sleep(app, .asleep)
                        if let databases = await site.daemon.databases {
                            _ = try await databases.settled(id, within: .seconds(60))
                        }
                        await site.daemon.fillPool()
                        let answer = await site.send(app)
                        guard answer.status == 200 else { throw BenchmarkFailure("\(app): \(answer.status)") }
                        // The first round warms up.
                        if round > 0 { times[app, default: []].append(answer.milliseconds) }
                    }
                }
                print("asleep to first byte with a local database of 100 MB, \(rounds) rounds in turns")
                let alone = Times(times["alone"] ?? [])
                for (name, app) in [
                    ("no replication (baseline)", "alone"), ("replicated, not gated", "async"),
                    ("replicated, gated", "gated"),
                ] {
                    let all = Times(times[app] ?? [])
                    let label = name.padding(toLength: 28, withPad: " ", startingAt: 0)
                    print(
                        "  \(label)\(all.text)"
                            + String(format: "   adds %.1f ms", all.quantile(0.5) - alone.quantile(0.5))
                    )
                }
            }
        }
    }
}

struct BenchmarkFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension Site {
    /// Has 100 MB once it was filled, and reads a row.
    static let large = """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("create table if not exists rows (id integer primary key, content blob)");
        export default {
          fetch(request: Request) {
            if (new URL(request.url).pathname === "/fill") {
              db.exec(
                "with recursive n (i) as (select 1 union all select i + 1 from n where i < 25000) " +
                  "insert into rows (content) select randomblob(3900) from n",
              );
            }
            return Response.json(db.prepare("select max(id) as id from rows").get());
          },
        };
        """
}
