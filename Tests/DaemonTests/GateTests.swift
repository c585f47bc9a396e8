import Control
@testable import Daemon
import Foundation
import Logging
import Replication
import Storage
import StorageTestSupport
import Supervision
import TestSupport
import Testing

/// Answers that wait for the replica, on whole hosts with a real S3 server.
@Suite(.serialized) struct GateTests {
    @Test func `an answer comes after its write is in the replica`() async throws {
        try await withS3Host { host, databases, _ in
            try await host.deploy("notes", Self.notes)
            let app = try ApplicationID(validating: "notes")
            for number in 1...8 {
                // A database that the request itself makes is in the replica too.
                let name = number % 4 == 0 ? "new\(number).db" : "main.db"
                let answer = try await host.send("POST", "/write?db=\(name)", to: "notes")
                #expect(answer.status == 200 && answer.headers["x-martlet-statements"] == nil, "\(answer)")
                let path = "\(host.folder.path)/check\(number).db"
                _ = try await databases.replicator.restore(
                    ReplicaLocation(app: "notes", epoch: 1, database: name),
                    to: path,
                    at: .newest
                ) { _ in }
                let rows = try SQLiteConnection(path, .readWrite).column("select count(*) from t")
                #expect(rows == [answer.body])
            }
            #expect(await databases.epoch(of: app) == 1)
        }
    }

    @Test func `a store that is out of reach refuses writes, lets reads pass, and all recovers by itself`()
        async throws
    {
        try await withS3Host { host, databases, server in
            try await host.deploy("notes", Self.notes)
            for _ in 1...3 {
                #expect(try await host.send("POST", "/write?db=main.db", to: "notes").status == 200)
            }
            let socket = try TestWebSocket(host: "notes.localhost", port: host.port, path: "/live")
            #expect(try socket.echo("write") == "4")
            await server.stop()
            let refused = try await host.send("POST", "/write?db=main.db", to: "notes")
            #expect(refused.status == 503 && refused.headers["retry-after"] == "2", "\(refused)")
            #expect(refused.body.contains("replica_unavailable"))
            let read = try await host.send("GET", "/read", to: "notes")
            #expect(read.status == 200 && read.body == "5")
            // What a socket says after a write is held, and its connection is ended rather than left in doubt.
            #expect(throws: (any Error).self) { _ = try socket.echo("write") }
            try await server.start()
            try await HostFixture.wait("writes are confirmed again") {
                try await host.send("POST", "/write?db=main.db", to: "notes").status == 200
            }
            let path = "\(host.folder.path)/check.db"
            let count = try await host.send("GET", "/read", to: "notes").body
            _ = try await databases.replicator.restore(
                ReplicaLocation(app: "notes", epoch: 1, database: "main.db"),
                to: path,
                at: .newest
            ) { _ in }
            #expect(try SQLiteConnection(path, .readWrite).column("select count(*) from t") == [count])
        }
    }

    @Test func `acknowledged writes survive a Litestream that is killed again and again`() async throws {
        try await withS3Host { host, databases, _ in
            try await host.deploy("notes", Self.notes)
            let writers = (0..<10).map { number in
                Task {
                    var acknowledged: [String] = []
                    for index in 0..<30 {
                        let id = "\(number)-\(index)"
                        let answer = try await host.send("POST", "/write?db=main.db&id=\(id)", to: "notes")
                        if answer.status == 200 { acknowledged.append(id) }
                    }
                    return acknowledged
                }
            }
            for _ in 0..<4 {
                try await Task.sleep(for: .milliseconds(400))
                if let process = await databases.replicator.processIdentifier { kill(process, SIGKILL) }
            }
            var acknowledged: [String] = []
            for writer in writers { acknowledged += try await writer.value }
            #expect(!acknowledged.isEmpty)
            let path = "\(host.folder.path)/check.db"
            _ = try await databases.replicator.restore(
                ReplicaLocation(app: "notes", epoch: 1, database: "main.db"),
                to: path,
                at: .newest
            ) { _ in }
            let rows = Set(try SQLiteConnection(path, .readWrite).column("select id from t"))
            #expect(Set(acknowledged).isSubset(of: rows))
        }
    }

    @Test
    func `an answer is held for commits that others make for it: a timer, another connection, a thread`()
        async throws
    {
        try await withS3Host {
            $0.store?.syncTimeout = .seconds(3)
        } _: { host, _, server in
            try await host.deploy("queue", Self.queue)
            let paths = ["/queue", "/other", "/thread"]
            for path in paths {
                let answer = try await host.send("POST", path, to: "queue")
                #expect(answer.status == 200, "\(path): \(answer)")
            }
            await server.stop()
            for path in paths {
                let answer = try await host.send("POST", path, to: "queue")
                #expect(
                    answer.status == 503 && answer.body.contains("replica_unavailable"),
                    "\(path): \(answer)"
                )
            }
            try await server.start()
            for path in paths {
                try await HostFixture.wait("\(path) is confirmed again") {
                    try await host.send("POST", path, to: "queue").status == 200
                }
            }
        }
    }

    /// Answers once something else than the request's own code has written.
    private static let queue = [
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        const file = Deno.env.get("MARTLET_DATA") + "/main.db";
        const [db, other] = [new DatabaseSync(file), new DatabaseSync(file)];
        db.exec("create table if not exists t (id text)");
        const waiting: { connection: DatabaseSync; done: () => void }[] = [];
        setInterval(() => {
          for (const { connection, done } of waiting.splice(0)) {
            connection.exec("insert into t values ('x')");
            done();
          }
        }, 10);
        const later = (connection: DatabaseSync) =>
          new Promise<void>((done) => waiting.push({ connection, done }));
        let thread: Worker | undefined;
        function inThread(): Promise<void> {
          thread ??= new Worker(new URL("./thread.ts", import.meta.url), { type: "module" });
          return new Promise((done) => {
            thread!.onmessage = () => done();
            thread!.postMessage(file);
          });
        }
        export default {
          async fetch(request: Request) {
            const { pathname } = new URL(request.url);
            if (pathname === "/thread") await inThread();
            else await later(pathname === "/queue" ? db : other);
            return new Response("written");
          },
        };
        """,
        "thread.ts": """
        import { DatabaseSync } from "node:sqlite";
        let db: DatabaseSync | undefined;
        self.onmessage = (event: MessageEvent<string>) => {
          db ??= new DatabaseSync(event.data);
          db.exec("insert into t values ('thread')");
          self.postMessage("written");
        };
        """,
    ]

    /// Writes, reads, and says over a socket how many rows there are.
    static let notes = [
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        const open = new Map<string, DatabaseSync>();
        function db(name: string): DatabaseSync {
          let found = open.get(name);
          if (!found) {
            found = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/" + name);
            found.exec("pragma busy_timeout = 5000; pragma journal_mode = wal; create table if not exists t (id text)");
            open.set(name, found);
          }
          return found;
        }
        const count = (name: string) => String(db(name).prepare("select count(*) as n from t").get()!.n);
        function write(name: string, id: string): string {
          db(name).prepare("insert into t values (?)").run(id);
          return count(name);
        }
        export default {
          fetch(request: Request) {
            const url = new URL(request.url);
            const name = url.searchParams.get("db") ?? "main.db";
            if (url.pathname === "/write") return new Response(write(name, url.searchParams.get("id") ?? "x"));
            if (url.pathname === "/live") {
              const { socket, response } = Deno.upgradeWebSocket(request);
              socket.onmessage = () => socket.send(write("main.db", "live"));
              return response;
            }
            return new Response(count(name));
          },
        };
        """
    ]
}

/// A SeaweedFS that can be stopped and started again.
actor StoppableS3 {
    private let folder: String
    private let ports = freePorts(4)
    private var server: SeaweedFS?

    init(folder: String) { self.folder = folder }

    func start() async throws {
        let process = try SeaweedFS.start(folder: folder, ports: ports)
        let server = SeaweedFS(port: ports[0], process: process)
        self.server = server
        try await server.waitUntilReady()
    }

    func stop() async {
        await server?.process.stop(grace: .seconds(5))
        SeaweedFS.removeSockets(ports: ports)
        server = nil
    }

    func configuration() throws -> S3Configuration {
        guard let server else { throw HTTPClient.Failure(description: "S3 does not run") }
        return try server.configuration(prefix: "martlet")
    }
}

/// A host with an S3 server as its store.
func withS3Host(
    change: (inout HostConfiguration) -> Void = { _ in },
    _ body: (HostFixture, AppDatabases, StoppableS3) async throws -> Void
) async throws {
    try await withTemporaryFolder { folder in
        let server = StoppableS3(folder: folder + "/weed")
        try await server.start()
        do {
            let configuration = try await server.configuration()
            try await HostFixture.with {
                var store = HostStore(
                    address: .s3(configuration),
                    litestream: tool("litestream"),
                    isRemote: true
                )
                store.leaseDuration = .seconds(120)
                store.syncTimeout = .seconds(10)
                $0.store = store
                change(&$0)
            } _: { host in
                try await body(host, try #require(await host.daemon.databases), server)
            }
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }
}
