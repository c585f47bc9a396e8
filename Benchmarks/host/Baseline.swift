import Foundation

/// A runtime that is started directly for the same app, without a sandbox or an ingress.
struct Baseline: Sendable {
    let name: String
    private let program: URL
    private let arguments: [String]
    private let socket: String

    /// Deno, and those of Node and Bun whose programs `MARTLET_NODE` and `MARTLET_BUN` name.
    static func all(in folder: URL) throws -> [Baseline] {
        let data = folder.path + "/direct.db"
        let socket = folder.path + "/direct.sock"
        let node = """
            const { DatabaseSync } = await import("node:sqlite");
            const { createServer } = await import("node:http");
            const db = new DatabaseSync("\(data)");
            db.exec("create table if not exists visits (n integer)");
            createServer((_, answer) => {
              db.prepare("insert into visits values (1)").run();
              answer.end(JSON.stringify(db.prepare("select count(*) as n from visits").get()));
            }).listen("\(socket)");
            """
        let deno = """
            import { DatabaseSync } from "node:sqlite";
            const db = new DatabaseSync("\(data)");
            db.exec("create table if not exists visits (n integer)");
            Deno.serve({ path: "\(socket)", onListen() {} }, () => {
              db.prepare("insert into visits values (1)").run();
              return Response.json(db.prepare("select count(*) as n from visits").get());
            });
            """
        let bun = """
            import { Database } from "bun:sqlite";
            const db = new Database("\(data)");
            db.exec("create table if not exists visits (n integer)");
            Bun.serve({ unix: "\(socket)", fetch() {
              db.query("insert into visits values (1)").run();
              return Response.json(db.query("select count(*) as n from visits").get());
            } });
            """
        var all: [Baseline] = []
        func add(_ name: String, _ program: URL, _ arguments: [String], _ text: String, _ file: String) throws
        {
            let path = folder.path + "/" + file
            try text.write(toFile: path, atomically: false, encoding: .utf8)
            all.append(Baseline(name: name, program: program, arguments: arguments + [path], socket: socket))
        }
        try add("Deno started directly", Site.deno, ["run", "-A", "--no-config"], deno, "direct-deno.ts")
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["MARTLET_NODE"] {
            try add(
                "Node started directly",
                URL(fileURLWithPath: path),
                ["--no-warnings"],
                node,
                "direct.mjs"
            )
        }
        if let path = environment["MARTLET_BUN"] {
            try add("Bun started directly", URL(fileURLWithPath: path), ["run"], bun, "direct-bun.ts")
        }
        return all
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
