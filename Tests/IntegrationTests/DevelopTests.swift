import Foundation
import FoundationNetworking
import TestSupport
import Testing

/// What a person does before and beside deploying, with the real program.
@Suite(.serialized)
struct DevelopTests {
    @Test func `an app from a template is checked, deployed and called by a client that was made of it`()
        async throws
    {
        try await HostFixture.with { host in
            let folder = host.folder.appending(path: "notes").path
            let made = try await host.martlet("init", folder)
            #expect(made.status == 0, "\(made.errors)")
            let again = try await host.martlet("init", folder)
            #expect(again.status == 5 && again.errors.contains("is there already"), "\(again.errors)")

            let checked = try await host.martlet("check", folder, "--json")
            #expect(checked.status == 0, "\(checked.errors)")
            #expect(checked.output.contains(#""pattern" : "/notes/:id""#), "\(checked.output)")
            #expect(!checked.output.contains(#""isChecked" : false"#), "\(checked.output)")

            let deployed = try await host.martlet("deploy", folder)
            #expect(deployed.status == 0, "\(deployed.errors)")
            let client = try await host.martlet("client", "notes")
            #expect(client.status == 0, "\(client.errors)")
            #expect(client.output.contains("export class Client"))
            let file = host.folder.appending(path: "client.ts")
            try Data(client.output.utf8).write(to: file)
            let deno = HostFixture.source.appending(path: ".tools/run/bin/deno")
            let types = try await host.run(deno, ["check", "--all", "--quiet", file.path])
            #expect(types.status == 0, "\(types.errors)")
            let none = try await host.martlet("client", "nothing")
            #expect(none.status == 2, "\(none.errors)")
        }
    }

    @Test func `what a deployment would refuse is said without one, with its place`() async throws {
        try await HostFixture.with { host in
            let folder = host.folder.appending(path: "odd")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let settings = folder.appending(path: "martlet.json")
            let script = folder.appending(path: "main.ts")
            try Data("{\n  \"cron\": 5\n}".utf8).write(to: settings)
            try Data("export default 5;".utf8).write(to: script)
            let wrongSettings = try await host.martlet("check", folder.path)
            #expect(
                wrongSettings.status == 4 && wrongSettings.errors.contains("martlet.json:2:"),
                "\(wrongSettings)"
            )
            try Data("{}".utf8).write(to: settings)
            let wrongScript = try await host.martlet("check", folder.path)
            #expect(wrongScript.status == 4 && wrongScript.errors.contains("fetch"), "\(wrongScript)")
            try Data(
                """
                import { serve } from "martlet";
                export function odd(value: Map<string, string>): string { return String(value); }
                export default serve({ "GET /odd": odd, "GET /inline/:id": (id: number) => id, "CRON 0 4 * * *": () => {} });
                """.utf8
            ).write(to: script)
            let notes = try await host.martlet("check", folder.path)
            #expect(notes.status == 0, "\(notes.errors)")
            #expect(
                notes.errors.contains("main.ts:2") && notes.errors.contains("odd(value)"),
                "\(notes.errors)"
            )
            #expect(notes.errors.contains("GET /inline/:id"), "\(notes.errors)")
            #expect(notes.output.contains("CRON    0 4 * * *"), "\(notes.output)")
        }
    }

    @Test func `a saved file is taken into use with its data, and errors are shown in the browser`()
        async throws
    {
        let folder = URL(filePath: "/tmp/martlet-dev-\(UUID().uuidString.prefix(8))")
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let script = folder.appending(path: "main.ts")
        func save(_ text: String, _ ending: String) throws {
            let source = """
                import { database, serve } from "martlet";
                const db = database();
                db.exec("create table if not exists visits (n integer)");
                export function visit(step = 1): { text: string; visits: number } {
                  db.prepare("insert into visits values (?)").run(step);
                  return { text: "\(text)", visits: db.prepare("select count(*) as n from visits").get()!.n as number };
                }
                export function fail(request: Request): never { throw new Error("on purpose " + request.method); }
                export default serve({ "GET /": visit, "GET /fail": fail });
                \(ending)
                """
            try Data(source.utf8).write(to: script)
        }
        try save("one", "")
        let log = folder.appending(path: "dev.log")
        try Data().write(to: log)
        let process = LockedProcess()
        let program = try #require(Bundle.main.executableURL).deletingLastPathComponent().appending(
            path: "martlet"
        )
        let environment = [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": folder.path,
            "TERM": "dumb",
        ]
        try process.start(
            program,
            [
                "dev", folder.path, "--port", "0", "--runtime",
                HostFixture.source.appending(path: "Runtime").path,
                "--deno", HostFixture.source.appending(path: ".tools/run/bin/deno").path,
            ],
            environment: environment,
            output: log
        )
        do {
            try await follow(log, script, save)
        } catch {
            await process.end(SIGKILL)
            throw error
        }
        #expect(await process.end(SIGINT) == 0)
        #expect(try String(contentsOf: log, encoding: .utf8).contains("Stopped."))
    }

    private func follow(_ log: URL, _ script: URL, _ save: (String, String) throws -> Void) async throws {
        func text() throws -> String { try String(contentsOf: log, encoding: .utf8) }
        try await eventually("a port") { try text().contains("http://localhost:") }
        let port = try #require(
            try text().components(separatedBy: "http://localhost:").dropFirst().first?.prefix { $0.isNumber }
        )
        func get(_ path: String, html: Bool = false) async throws -> (Int, String) {
            var request = URLRequest(url: try #require(URL(string: "http://127.0.0.1:\(port)\(path)")))
            if html { request.setValue("text/html", forHTTPHeaderField: "Accept") }
            let (data, answer) = try await URLSession.shared.data(for: request)
            return ((answer as? HTTPURLResponse)?.statusCode ?? 0, String(decoding: data, as: UTF8.self))
        }
        try await eventually("the first start") { try text().contains("started in") }
        #expect(try await get("/").1 == #"{"text":"one","visits":1}"#)
        #expect(try await get("/?step=x").0 == 400)
        try save("two", "")
        try await eventually("the second start") { try await get("/").1.contains("two") }
        let visits = try await get("/").1
        #expect(!visits.contains("\"visits\":1}"), "\(visits)")

        let failed = try await get("/fail", html: true)
        #expect(
            failed.0 == 500 && failed.1.contains("on purpose GET") && failed.1.contains("&#62;    8"),
            "\(failed)"
        )
        try save("three", "const x = ;")
        try await eventually("the page of the error") {
            let (status, page) = try await get("/")
            return status == 500 && page.contains("Expression expected") && page.contains("main.ts:10:11")
        }
        try save("four", "")
        try await eventually("the app to be back") { try await get("/").1.contains("four") }
    }
}
