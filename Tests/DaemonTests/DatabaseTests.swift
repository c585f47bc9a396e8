import Control
@testable import Daemon
import Foundation
import Replication
import Storage
import StorageTestSupport
import TestSupport
import Testing

/// Databases of a whole host: workers write them, Litestream streams them, and they come back.
@Suite(.serialized) struct DatabaseTests {
    @Test func `an asleep app has everything in its replica and nothing open`() async throws {
        try await withStore { store in
            try await HostFixture.with {
                $0.store = store
                $0.sleep.after = .milliseconds(200)
                $0.sleep.frozenFor = .zero
            } _: { host in
                try await host.deploy("counter", Apps.counter)
                for number in 1...5 { #expect(try await host.send(to: "counter").body == "\(number)") }
                try await host.wait("counter", for: .asleep)
                let databases = try #require(await host.daemon.databases)
                let app = try ApplicationID(validating: "counter")
                let positions = try await databases.settled(app, within: .seconds(60))
                #expect(positions.keys.sorted() == ["main.db"])
                #expect(await databases.replicator.watchedCount == 0)
                let restored = host.folder.path + "/restored.db"
                _ = try await run(
                    tool("litestream"),
                    [
                        "restore", "-o", restored,
                        "file://\(host.folder.path)/../\(store.root.name)/apps/counter/epochs/1/main.db",
                    ]
                )
                let rows = try SQLiteConnection(restored, .readWrite).column("select count(*) from visits")
                #expect(rows == ["5"])
                #expect(try await host.send(to: "counter").body == "6")
            }
        }
    }

    @Test func `what an app writes between two syncs is in its replica, however much it is`() async throws {
        let files = [
            "main.ts": """
            import { DatabaseSync } from "node:sqlite";
            const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
            db.exec("pragma synchronous = off; create table if not exists kept (id text primary key)");
            const keep = db.prepare("insert into kept values (?)");
            export default {
              fetch(request: Request) {
                const count = Number(new URL(request.url).searchParams.get("n"));
                for (let n = 0; n < count; n++) keep.run(crypto.randomUUID());
                return new Response("kept");
              },
            };
            """,
            "martlet.json": #"{ "durability": "async" }"#,
        ]
        try await withStore { store in
            try await HostFixture.with {
                $0.store = store
            } _: { host in
                try await host.deploy("writer", files)
                let app = try ApplicationID(validating: "writer")
                // Each is a transaction of two or three pages. SQLite by itself begins its log anew after 1,000, so about
                // every two seconds; Litestream reads it each second.
                for _ in 0..<24 {
                    #expect(try await host.send("GET", "/?n=60", to: "writer").body == "kept")
                    try await Task.sleep(for: .milliseconds(250))
                }
                try await HostFixture.wait("the writer is asleep") {
                    await host.daemon.putToSleep(app, isDeep: true)
                    return try await host.state(of: "writer") == .asleep
                }
                let databases = try #require(await host.daemon.databases)
                _ = try await databases.settled(app, within: .seconds(60))
                let restored = host.folder.path + "/restored.db"
                _ = try await run(
                    tool("litestream"),
                    ["restore", "-o", restored, "file://\(store.root.path)/apps/writer/epochs/1/main.db"]
                )
                let copy = try SQLiteConnection(restored, .readWrite)
                #expect(try copy.column("pragma integrity_check") == ["ok"])
                #expect(try copy.column("select count(*) from kept") == ["1440"])
            }
        }
    }

    @Test func `whatever an app does to a database while it writes, its replica has the same`() async throws {
        try await withStore { store in
            var state = ""
            try await HostFixture.with {
                $0.store = store
            } _: { host in
                try await host.deploy("player", Self.player)
                let answer = try await host.send("POST", "/", to: "player", timeout: 120)
                state = answer.body
                let lines = state.split(separator: "\n")
                #expect(answer.status == 200 && lines.count == 18, "\(answer)")
                #expect(lines.allSatisfy { $0.hasSuffix(" ok") }, "\(state)")
            }
            // Nothing of the first host is there any more.
            try await HostFixture.with {
                $0.store = store
                $0.host = try HostID(validating: "other")
            } _: { host in
                let restored = try await host.send(to: "player")
                #expect(restored.body == state)
            }
        }
    }

    /// For a POST writes to ten databases and does something else with each meanwhile; says what is in all that there are.
    private static let player = [
        "martlet.json": #"{ "durability": "async", "limits": { "requestTimeout": "110s" } }"#,
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        const root = Deno.env.get("MARTLET_DATA") + "/";
        function open(name: string): DatabaseSync {
          const db = new DatabaseSync(root + name);
          db.exec(`pragma synchronous = off;
            create table if not exists kept (id integer primary key, pad text default (hex(randomblob(200))))`);
          return db;
        }
        function remove(...names: string[]): void {
          for (const name of names) {
            try { Deno.removeSync(root + name); } catch { /* It is not there. */ }
          }
        }
        /** What an app may do to a database while it writes to it; some give another one to go on with. */
        const deeds: Record<string, (db: DatabaseSync, name: string, step: number) => DatabaseSync | void> = {
          truncated: (db) => db.exec("pragma wal_checkpoint(truncate)"),
          checkpointed: (db) => void db.prepare("pragma wal_checkpoint").all(),
          automatic: (db) => db.exec("pragma wal_autocheckpoint = 1"),
          rollback(db) {
            try { db.exec("pragma journal_mode = delete"); } catch { /* Not while it is replicated. */ }
          },
          vacuumed: (db) => db.exec("vacuum"),
          large: (db) => db.exec(`with recursive n (i) as (select 1 union all select i + 1 from n where i < 1500)
            insert into kept (pad) select hex(randomblob(1900)) from n`),
          altered: (db, _, step) => db.exec(`alter table kept add column c${step} text default 'x';
            create index i${step} on kept (c${step})`),
          copied: (db, name, step) => db.exec(`vacuum into '${root}${step}-${name}'`),
          recreated(db, name, step) {
            if (step !== 6) return;
            db.close();
            remove(name, name + "-wal", name + "-shm");
            return open(name);
          },
          swapped(db, name, step) {
            if (step !== 6) return;
            db.exec(`vacuum into '${root}next.tmp'`);
            db.close();
            Deno.renameSync(root + "next.tmp", root + name);
            remove(name + "-wal", name + "-shm");
            return open(name);
          },
        };
        async function play(deed: string): Promise<void> {
          const name = deed + ".db";
          let db = open(name);
          for (let step = 0; step < 12; step++) {
            for (let n = 0; n < 60; n++) db.exec("insert into kept default values");
            if (step > 3) db = deeds[deed]!(db, name, step) ?? db;
            await new Promise((resolve) => setTimeout(resolve, 150));
          }
          db.close();
        }
        function state(): string {
          const names = [...Deno.readDirSync(root)].map((entry) => entry.name).filter((name) => name.endsWith(".db"));
          return names.sort().map((name) => {
            const db = open(name);
            const { count, bytes } = db.prepare("select count(*) as count, sum(length(pad)) as bytes from kept").get()!;
            const check = Object.values(db.prepare("pragma integrity_check").get()!)[0];
            db.close();
            return [name, count, bytes, check].join(" ");
          }).join("\\n");
        }
        export default {
          async fetch(request: Request) {
            if (request.method === "POST") await Promise.all(Object.keys(deeds).map(play));
            return new Response(state());
          },
        };
        """,
    ]

    @Test func `an empty host with the same store gets apps and data back`() async throws {
        try await withStore { store in
            try await HostFixture.with {
                $0.store = store
            } _: { host in
                var files = Apps.counter
                files["martlet.json"] = "{ \"env\": { \"A\": \"b\" } }"
                try await host.deploy("counter", files)
                let app = try ApplicationID(validating: "counter")
                try await host.daemon.setEnvironment(
                    [
                        EnvironmentVariable(name: "PLAIN", value: "yes", isSecret: false),
                        EnvironmentVariable(name: "SECRET", value: "never", isSecret: true),
                    ],
                    of: app
                )
                for number in 1...3 {
                    let answer = try await host.send(to: "counter")
                    #expect(answer.body == "\(number)", "\(answer)")
                }
            }
            try await HostFixture.with {
                $0.store = store
                $0.host = try HostID(validating: "other")
            } _: { host in
                #expect(try await host.send(to: "counter").body == "4")
                let app = try ApplicationID(validating: "counter")
                let status = try await host.daemon.application(app)
                #expect(status.lastError?.message.contains("SECRET") == true)
                #expect(try await host.daemon.environment(of: app).map(\.name) == ["PLAIN"])
                #expect(try await host.epoch(of: app) == 2)
            }
            let record = try String(
                contentsOfFile: store.root.path + "/records/apps/counter.json",
                encoding: .utf8
            )
            #expect(record.contains("PLAIN") && !record.contains("never"))
        }
    }

    @Test func `a restarted host goes on with its data and its epoch`() async throws {
        try await withStore { store in
            let folder = URL(fileURLWithPath: "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())")
            defer { try? FileManager.default.removeItem(at: folder) }
            var configuration = try HostFixture.configuration(folder)
            configuration.store = store
            let app = try ApplicationID(validating: "counter")
            try await HostFixture.with(configuration, folder) { host in
                try await host.deploy("counter", Apps.counter)
                #expect(try await host.send(to: "counter").body == "1")
            }
            try await HostFixture.with(configuration, folder) { host in
                #expect(try await host.send(to: "counter").body == "2")
                #expect(try await host.epoch(of: app) == 1)
                // A new version gets the same data, beside the old one's worker.
                var files = Apps.counter
                files["other.txt"] = "another version"
                try await host.deploy("counter", files)
                #expect(try await host.send(to: "counter").body == "3")
            }
            try FileManager.default.removeItem(atPath: folder.path + "/state/apps/counter/data")
            try await HostFixture.with(configuration, folder) { host in
                let answer = try await host.send(to: "counter")
                #expect(answer.body == "4")
                #expect(try await host.epoch(of: app) == 2)
            }
        }
    }

    @Test func `a deleted app leaves its replica, and its name begins empty`() async throws {
        try await withStore { store in
            try await HostFixture.with {
                $0.store = store
            } _: { host in
                let app = try ApplicationID(validating: "counter")
                try await host.deploy("counter", Apps.counter)
                #expect(try await host.send(to: "counter").body == "1")
                try await host.daemon.delete(app)
                let databases = try #require(await host.daemon.databases)
                let kept = try await databases.replicator.replicas(
                    below: ReplicaLocation.folder(app: "counter", epoch: 1)
                )
                #expect(kept.count == 1)
                let records = try await databases.applicationRecords()
                #expect(records.isEmpty)
                try await host.deploy("counter", Apps.counter)
                #expect(try await host.send(to: "counter").body == "1")
            }
        }
    }

    @Test func `databases of all kinds are found, and removed ones stay away`() async throws {
        try await withStore { store in
            try await HostFixture.with {
                $0.store = store
            } _: { host in
                try await host.deploy("many", Self.many)
                for name in ["a.db", "sub/b c.sqlite", "ü.db"] {
                    let made = try await host.send("GET", "/make?name=\(Self.encoded(name))", to: "many")
                    #expect(made.body == "1", "\(made)")
                }
                try await Task.sleep(for: .milliseconds(500))
                #expect(try await host.send("GET", "/remove?name=a.db", to: "many").status == 200)
                #expect(
                    try await host.send("GET", "/remove?name=\(Self.encoded("ü.db"))", to: "many").status
                        == 200
                )
                try await Task.sleep(for: .milliseconds(500))
                #expect(
                    try await host.send("GET", "/make?name=\(Self.encoded("ü.db"))", to: "many").body == "1"
                )
            }
            try await HostFixture.with {
                $0.store = store
                $0.host = try HostID(validating: "other")
            } _: { host in
                let listed = try await host.send("GET", "/list", to: "many").body
                #expect(listed.split(separator: "\n").sorted() == ["sub/b c.sqlite", "ü.db"])
                #expect(
                    try await host.send("GET", "/make?name=\(Self.encoded("sub/b c.sqlite"))", to: "many")
                        .body == "2"
                )
                #expect(
                    try await host.send("GET", "/make?name=\(Self.encoded("ü.db"))", to: "many").body == "2"
                )
            }
        }
    }

    /// Makes, removes and lists databases in rollback mode, as any library might.
    static let many = [
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        const root = Deno.env.get("MARTLET_DATA") + "/";
        function walk(folder: string): string[] {
          return [...Deno.readDirSync(root + folder)].flatMap((entry) =>
            entry.isDirectory && !entry.name.startsWith(".") ? walk(folder + entry.name + "/") : [folder + entry.name]
          );
        }
        export default {
          fetch(request: Request) {
            const url = new URL(request.url);
            const name = url.searchParams.get("name") ?? "";
            if (url.pathname === "/make") {
              const slash = name.lastIndexOf("/");
              if (slash > 0) Deno.mkdirSync(root + name.slice(0, slash), { recursive: true });
              const db = new DatabaseSync(root + name);
              db.exec("pragma busy_timeout = 5000; create table if not exists t (n integer); insert into t values (1)");
              const count = db.prepare("select count(*) as n from t").get()!.n;
              db.close();
              return new Response(String(count));
            }
            if (url.pathname === "/remove") {
              for (const end of ["", "-wal", "-shm"]) {
                try { Deno.removeSync(root + name + end); } catch { /* not there */ }
              }
              return new Response("removed");
            }
            return new Response(walk("").filter((name) => !/-(wal|shm|txid|litestream)$/.test(name)).join("\\n"));
          },
        };
        """
    ]

    private static func encoded(_ name: String) -> String {
        name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? name
    }
}

/// A store in a folder, for as long as `body` runs.
func withStore(_ body: (HostStore) async throws -> Void) async throws {
    let root = "/tmp/martlet-store-\(UUID().uuidString.prefix(8).lowercased())"
    defer { try? FileManager.default.removeItem(atPath: root) }
    var store = HostStore(address: .folder(root), litestream: tool("litestream"), isRemote: false)
    store.leaseDuration = .seconds(30)
    try await body(store)
}

extension HostStore {
    /// The folder of a store that is one.
    var root: (path: String, name: String) {
        guard case .folder(let path) = address else { return ("", "") }
        return (path, String(path.split(separator: "/").last ?? ""))
    }
}

extension HostFixture {
    func epoch(of app: ApplicationID) async throws -> Int? {
        let databases = try #require(await daemon.databases, "the host has no store")
        return await databases.epoch(of: app)
    }
}
