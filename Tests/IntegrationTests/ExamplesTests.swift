import Foundation
import Testing

/// The examples, deployed with the real program and used from outside, through restarts and crashes.
@Suite(.serialized)
struct ExamplesTests {
    @Test func `a guest book keeps its entries through a kill, a restart and a new version`() async throws {
        try await HostFixture.with { host in
            let deployed = try await host.martlet("deploy", "examples/guestbook", "--json")
            #expect(deployed.status == 0, "\(deployed.errors)")
            #expect(deployed.output.contains("\"app\" : \"guestbook\""))
            #expect(deployed.errors.contains("✓ start"))
            let entry = #"{"name": "Ada", "message": "hello"}"#
            let signed = try await host.request(
                "guestbook",
                "/entries",
                "-d",
                entry,
                "-H",
                "Content-Type: application/json"
            )
            #expect(signed.output.hasSuffix("201"), "\(signed.output)")

            await host.kill()
            try await host.start()
            let afterKill = try await host.request("guestbook", "/entries")
            #expect(afterKill.output.contains("Ada"), "\(afterKill.output)")
            #expect(afterKill.output.hasSuffix("200"))

            let status = await host.stop()
            #expect(status == 0, "\(host.log)")
            try await host.start()
            let afterStop = try await host.request("guestbook", "/entries")
            #expect(afterStop.output.contains("Ada"))

            let folder = host.folder.appending(path: "guestbook")
            try FileManager.default.copyItem(
                at: HostFixture.source.appending(path: "examples/guestbook"),
                to: folder
            )
            try Data("// A new version.\n".utf8).write(to: folder.appending(path: "note.ts"))
            let second = try await host.martlet("deploy", folder.path)
            #expect(second.status == 0, "\(second.errors)")
            let versions = try await host.martlet("versions", "guestbook", "--json")
            #expect(versions.output.components(separatedBy: "\"id\"").count == 3, "\(versions.output)")
            #expect(try await host.request("guestbook", "/entries").output.contains("Ada"))
            let rollback = try await host.martlet("rollback", "guestbook")
            #expect(rollback.status == 0, "\(rollback.errors)")
            #expect(try await host.request("guestbook", "/entries").output.contains("Ada"))
        }
    }

    @Test func `files come back byte for byte, and events arrive as they happen`() async throws {
        try await HostFixture.with { host in
            #expect(try await host.martlet("deploy", "examples/files").status == 0)
            let file = host.folder.appending(path: "upload.bin")
            let content = Data((0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
            try content.write(to: file)
            let put = try await host.request("files", "/files/by-name/upload.bin", "-T", file.path)
            #expect(put.output.hasSuffix("201"), "\(put.output)")
            let back = host.folder.appending(path: "back.bin")
            let get = try await host.request("files", "/files/1", "-o", back.path)
            #expect(get.output.hasSuffix("200"))
            #expect(try Data(contentsOf: back) == content)

            #expect(try await host.martlet("deploy", "examples/ticker").status == 0)
            #expect(try await host.request("ticker", "/press", "-X", "POST").output.hasSuffix("201"))
            let events = try await host.request("ticker", "/events", "-N", "--max-time", "3")
            #expect(events.output.contains("data:"), "\(events.output)")
        }
    }

    @Test func `todos are checked by their types and described by them`() async throws {
        try await HostFixture.with { host in
            let deployed = try await host.martlet("deploy", "examples/todos")
            #expect(deployed.status == 0, "\(deployed.errors)")
            let json = "Content-Type: application/json"
            let wrong = try await host.request("todos", "/todos", "-d", #"{"title":3}"#, "-H", json)
            #expect(wrong.output.hasSuffix("400"), "\(wrong.output)")
            #expect(wrong.output.contains("title"), "\(wrong.output)")
            let right = try await host.request("todos", "/todos", "-d", #"{"title":"water"}"#, "-H", json)
            #expect(right.output.contains(#""priority":"normal""#), "\(right.output)")
            await host.stop()
            try await host.start()
            let again = try await host.request("todos", "/todos?limit=many")
            #expect(again.output.hasSuffix("400"), "\(again.output)")
            #expect(try await host.request("todos", "/openapi.json").output.contains("NewTodo"))
        }
    }

    @Test func `a chat answers over a WebSocket and remembers`() async throws {
        try await HostFixture.with { host in
            #expect(try await host.martlet("deploy", "examples/chat").status == 0)
            let plain = try await host.request("chat", "/live")
            #expect(plain.output.hasSuffix("426"))
            let first = try await host.webSocket("chat", "/live?name=Ada", send: "hello", until: "hello")
            #expect(first.contains("hello"))
            let second = try await host.webSocket("chat", "/live?name=Bob", send: nil, until: "hello")
            #expect(second.contains("Ada"))
        }
    }

    @Test func `the program refuses what it should, with a status and a message`() async throws {
        try await HostFixture.with { host in
            let folder = host.folder.appending(path: "bad")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            func write(_ name: String, _ text: String) throws {
                try Data(text.utf8).write(to: folder.appending(path: name))
            }
            try write("martlet.json", "{\n  \"name\": \"bad\",\n  \"durability\": \"sometimes\"\n}")
            let settings = try await host.martlet("deploy", folder.path)
            #expect(settings.status == 4)
            #expect(
                settings.errors.contains(
                    "martlet.json:3:17: \"durability\" is \"sometimes\"; allowed: \"gated\", \"async\""
                )
            )

            try write("martlet.json", "{ \"name\": \"bad\" }")
            let missing = try await host.martlet("deploy", folder.path)
            #expect(missing.status == 4, "\(missing.errors)")
            #expect(missing.errors.contains("main.ts"), "\(missing.errors)")

            for (script, reason) in [
                ("export default { fetch( { }", "main.ts"),
                ("throw new Error('no luck today');", "no luck today"),
                ("Deno.exit(3);", "error:"),
                ("export const nothing = 1;", "no default export"),
            ] {
                try write("main.ts", script)
                let result = try await host.martlet("deploy", folder.path)
                #expect(result.status == 4, "\(script): \(result.errors)")
                #expect(
                    result.errors.contains("error:") && result.errors.contains(reason),
                    "\(result.errors)"
                )
            }
            #expect(try await host.martlet("apps", "show", "nosuch").status == 2)
            let token = try await host.martlet("apps", "--token", "martlet_not_the_token")
            #expect(token.status == 3)
            #expect(token.errors.contains("this token is not valid here"))
            let unknown = try await host.request("nosuch", "/")
            #expect(unknown.output.hasSuffix("404"))
            #expect(unknown.output.contains("nosuch"))
            #expect(try await host.martlet("apps", "--json").output == "[\n\n]\n")
        }
    }

    @Test func `a version that does not start leaves the old one serving`() async throws {
        try await HostFixture.with { host in
            let folder = host.folder.appending(path: "steady")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let main = folder.appending(path: "main.ts")
            try Data("export default { fetch: () => new Response('old\\n') };".utf8).write(to: main)
            #expect(try await host.martlet("deploy", folder.path).status == 0)
            try Data("throw new Error('broken');".utf8).write(to: main)
            let broken = try await host.martlet("deploy", folder.path)
            #expect(broken.status == 4)
            #expect(broken.errors.contains("broken"))
            #expect(try await host.request("steady", "/").output == "old\n\n200")
        }
    }

    @Test func `variables reach the app, secrets are not shown, and logs hold what it writes`() async throws {
        try await HostFixture.with { host in
            let folder = host.folder.appending(path: "env")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let script =
                "export default { fetch(_r, env) { console.log('asked'); return new Response(env.A + env.KEY.length); } };"
            try Data(script.utf8).write(to: folder.appending(path: "main.js"))
            try Data("{ \"name\": \"shop\", \"env\": { \"A\": \"x\", \"KEY\": \"\" } }".utf8)
                .write(to: folder.appending(path: "martlet.json"))
            #expect(try await host.martlet("deploy", folder.path).status == 0)
            #expect(try await host.martlet("env", "set", "shop", "A=y").status == 0)
            let secret = try await host.martlet("env", "set", "shop", "KEY", "--secret", input: "hush-hush\n")
            #expect(secret.status == 0, "\(secret.errors)")
            let list = try await host.martlet("env", "list", "shop")
            #expect(list.output.contains("KEY=(secret)"))
            #expect(!list.output.contains("hush"))
            await host.stop()
            try await host.start()
            #expect(try await host.request("shop", "/").output == "y9\n200")
            var logs = ""
            for _ in 0..<100 {
                logs = try await host.martlet("logs", "shop", "--json").output
                if logs.contains("asked") { break }
                try await Task.sleep(for: .milliseconds(100))
            }
            #expect(logs.contains("asked"), "\(logs)")
        }
    }
}
