import Control
import Daemon
import Foundation
import Logging
import NIOCore
import Storage
import StorageTestSupport

extension Main {
    /// Gated answers of a whole host (clients, ingress, worker, gate, Litestream, SeaweedFS, all on this machine), in turns
    /// with the same app without the gate and with bare PUTs to the same store.
    static func gated(seconds: Int) async throws {
        try await Site.withS3 { site, store in
            for (app, durability) in [("gated", "gated"), ("plain", "async")] {
                try await site.deploy(
                    app,
                    [
                        "main.ts": Site.writing,
                        "martlet.json": "{ \"name\": \"\(app)\", \"durability\": \"\(durability)\" }",
                    ]
                )
            }
            let body = ByteBuffer(repeating: 7, count: 1024)
            let put: @Sendable (Int) async throws -> Void = { client in
                try await store.put(try ObjectKey("benchmark/\(client)"), .bytes(body))
            }
            let time = Duration.seconds(seconds)
            var warm = Turns()
            for app in ["gated", "plain"] {
                await warm.addRequests(50, for: .seconds(1), "\(app).localhost", site.port)
            }
            for clients in [50, 1] {
                var (gated, plain, bare) = (Turns(), Turns(), Turns())
                for _ in 0..<3 {
                    await gated.addRequests(clients, for: time, "gated.localhost", site.port)
                    try await bare.addCalls(clients, for: time, put)
                    await plain.addRequests(clients, for: time, "plain.localhost", site.port)
                }
                print("\(clients) clients that write, one database, 3 turns of \(seconds) s each")
                print(gated.line("gated"))
                print(plain.line("baseline: the same without the gate"))
                print(bare.line("baseline: a bare PUT of 1 KB"))
                let added = gated.median - plain.median
                print(
                    String(format: "  the gate adds %.1f ms in the median: ", added)
                        + String(format: "%.1f bare PUTs", added / bare.median)
                )
            }
        }
    }
}

extension Site {
    /// Writes a row for each POST.
    static let writing = """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("create table if not exists rows (id integer primary key, content blob)");
        const insert = db.prepare("insert into rows (content) values (randomblob(100))");
        export default {
          fetch(request: Request) {
            if (request.method === "POST") insert.run();
            return new Response("ok");
          },
        };
        """

    /// A host whose store is a SeaweedFS of its own.
    static func withS3(
        _ change: (inout HostConfiguration) -> Void = { _ in },
        _ body: (Site, S3Store) async throws -> Void
    ) async throws {
        let folder = "/tmp/martlet-bench-\(getpid())-store-\(UInt32.random(in: 0...9999))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await SeaweedFS.with(folder: folder) { server in
            let configuration = try server.configuration(prefix: "martlet")
            let store = S3Store(configuration: configuration, logger: Logger(label: "benchmark"))
            let result: Result<Void, any Error>
            do {
                try await with {
                    var hostStore = HostStore(
                        address: .s3(configuration),
                        litestream: tools.appending(path: "run/bin/litestream").path,
                        isRemote: true
                    )
                    hostStore.leaseDuration = .seconds(300)
                    $0.store = hostStore
                    change(&$0)
                } _: {
                    try await body($0, store)
                }
                result = .success(())
            } catch { result = .failure(error) }
            try await store.shutdown()
            try result.get()
        }
    }
}
