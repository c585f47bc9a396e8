import Foundation
import Synchronization
import TestSupport
import Testing

extension Apps {
    /// Keeps what it is told, and says with each answer who gives it, under which epoch.
    static let witness = [
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("pragma journal_mode = wal; pragma busy_timeout = 5000; create table if not exists kept (id text primary key, filling blob)");
        const keep = db.prepare("insert into kept (id) values (?)");
        const has = db.prepare("select count(*) as n from kept where id = ?");
        const fill = db.prepare("insert into kept values (?, randomblob(10000))");
        export default {
          async fetch(request: Request, env: Record<string, string>) {
            const url = new URL(request.url);
            const id = url.searchParams.get("id") ?? "";
            const headers = { "Served-By": env.MARTLET_HOST ?? "", "Served-Epoch": env.MARTLET_EPOCH ?? "" };
            if (url.pathname === "/live") {
              const { socket, response } = Deno.upgradeWebSocket(request);
              socket.onmessage = (event) => socket.send(event.data);
              return response;
            }
            if (url.pathname === "/slow") await new Promise((done) => setTimeout(done, 1000));
            if (url.pathname === "/fill") {
              db.exec("begin");
              for (let n = 0; n < Number(url.searchParams.get("n")); n++) fill.run(crypto.randomUUID());
              db.exec("commit");
            }
            if (url.pathname === "/greeting") return new Response(env.GREETING ?? "none", { headers });
            if (request.method === "POST") {
              keep.run(id);
              return new Response("kept", { headers });
            }
            if (url.pathname === "/all") {
              return new Response(JSON.stringify(db.prepare("select id from kept where filling is null").all().map((row) => row.id)), { headers });
            }
            return new Response(String((has.get(id) as { n: number }).n), { headers });
          },
        };
        """
    ]
}

/// Clients that write and read all the time, and remember what was answered, by whom and when.
final class Witnesses: Sendable {
    struct Answer: Sendable {
        var status: Int
        var body: String
        var host: String
        var epoch: Int
        var begin: ContinuousClock.Instant
        var end: ContinuousClock.Instant
        var isWrite: Bool
        var id: String
    }

    private let answers = Mutex<[Answer]>([])
    private let isEnded = Mutex(false)
    private let tasks = Mutex<[Task<Void, Never>]>([])

    var all: [Answer] { answers.withLock { $0 } }

    /// Starts clients; each sends a request as soon as the one before is answered, to the ports in turn.
    init(app: String, ports: [UInt16], writers: Int, readers: Int, pause: Duration = .milliseconds(5)) {
        // An app may have been written to by others before.
        let prefix = UUID().uuidString.prefix(8)
        for client in 0..<(writers + readers) {
            let isWriter = client < writers
            let task = Task {
                var count = 0
                while !self.isEnded.withLock({ $0 }) {
                    count += 1
                    let id = "\(prefix)-\(client)-\(count)"
                    let begin = ContinuousClock.now
                    var answer = Answer(
                        status: 0,
                        body: "",
                        host: "",
                        epoch: 0,
                        begin: begin,
                        end: begin,
                        isWrite: isWriter,
                        id: id
                    )
                    do {
                        let got = try await HTTPClient.send(
                            isWriter ? "POST" : "GET",
                            "/?id=\(id)",
                            host: "\(app).localhost",
                            port: ports[(client + count) % ports.count],
                            timeout: 60
                        )
                        answer.status = got.status
                        answer.body = got.body
                        answer.host = got.headers["served-by"] ?? ""
                        answer.epoch = Int(got.headers["served-epoch"] ?? "") ?? 0
                    } catch {
                        answer.body = "\(error)"
                    }
                    answer.end = .now
                    let done = answer
                    self.answers.withLock { $0.append(done) }
                    try? await Task.sleep(for: pause)
                }
            }
            tasks.withLock { $0.append(task) }
        }
    }

    func stop() async {
        isEnded.withLock { $0 = true }
        for task in tasks.withLock({ $0 }) { await task.value }
    }

    var failed: [Answer] { all.filter { $0.status != 200 } }

    /// Writes that were answered with 200.
    var acknowledged: Set<String> { Set(all.filter { $0.isWrite && $0.status == 200 }.map(\.id)) }

    /// Answers that show two hosts, or two epochs, at the same time.
    var contradictions: [String] {
        ServedAnswer.contradictions(
            among: all.map { ServedAnswer(host: $0.host, epoch: $0.epoch, begin: $0.begin, end: $0.end) }
        )
    }
}
