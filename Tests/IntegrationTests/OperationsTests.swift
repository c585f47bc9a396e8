import Foundation
import TestSupport
import Testing

/// What operators ask of a host: health, metrics, the log as it grows, what the program prints for programs.
@Suite(.serialized)
struct OperationsTests {
    @Test func `metrics tell of apps, starts, wakes and requests`() async throws {
        try await HostFixture.with { host in
            #expect(try await host.martlet("deploy", "examples/guestbook").status == 0)
            for _ in 0..<3 { #expect(try await host.request("guestbook", "/").output.hasSuffix("200")) }
            let health = try await host.request(nil, "/healthz")
            #expect(health.output.contains("\"status\":\"ok\""), "\(health.output)")
            await host.stop()
            try await host.start()
            // Asleep after the restart: this wakes it.
            #expect(try await host.request("guestbook", "/").output.hasSuffix("200"))
            let metrics = try await host.request(nil, "/metrics").output
            for line in [
                "martlet_apps{state=\"running\"} 1", "martlet_apps{state=\"asleep\"} 0",
                "martlet_starts_total{result=\"started\"} 1",
                "martlet_wake_seconds_count{from=\"stopped\"} 1",
                "martlet_app_requests_total{app=\"guestbook\"} 1", "martlet_requests_held 0",
                "martlet_pool_workers{state=\"warm\"} ",
            ] {
                #expect(metrics.contains(line), "\(line) is missing in \(metrics)")
            }
        }
    }

    @Test func `the log is followed as it grows, and the last failure is among the apps`() async throws {
        try await HostFixture.with { host in
            let folder = try host.app(
                "noisy",
                """
                export default {
                  fetch(request) {
                    const { pathname } = new URL(request.url);
                    if (pathname === "/exit") Deno.exit(7);
                    console.log("asked for", pathname);
                    return new Response("ok\\n");
                  },
                };
                """
            )
            #expect(try await host.martlet("deploy", folder).status == 0)
            let log = host.folder.appending(path: "follow.log")
            try Data().write(to: log)
            let follower = LockedProcess()
            try follower.start(
                try HostFixture.executable(),
                ["logs", "noisy", "--follow"],
                environment: host.environment,
                output: log
            )
            for path in ["/first", "/second"] {
                #expect(try await host.request("noisy", path).output == "ok\n\n200")
                try await eventually("\(path) is in the log") {
                    try String(contentsOf: log, encoding: .utf8).contains("asked for \(path)")
                }
            }
            _ = try await host.request("noisy", "/exit")
            try await eventually("the failure is shown") {
                try await host.martlet("apps").errors.contains("exited with status 7")
            }
            let listed = try await host.martlet("apps", "--json")
            #expect(listed.output.contains("\"lastError\""), "\(listed.output)")
            #expect(try String(contentsOf: log, encoding: .utf8).contains("exited with status 7"))
            await follower.end(SIGINT)
        }
    }

    @Test func `every listing is one array or one object of JSON, and every command has help`() async throws {
        try await HostFixture.with { host in
            let deployed = try await host.martlet("deploy", "examples/guestbook", "--json")
            let object = try #require(try host.json(deployed.output) as? [String: Any], "\(deployed.output)")
            #expect(object["app"] as? String == "guestbook")
            for command in [["apps"], ["versions", "guestbook"], ["env", "list", "guestbook"]] {
                let result = try await host.martlet(command + ["--json"])
                let list = try host.json(result.output) as? [[String: Any]]
                #expect(result.status == 0 && list != nil, "\(command): \(result)")
                if command[0] != "env" { #expect(list?.first?["id"] is String, "\(result.output)") }
            }
            let shown = try await host.martlet("apps", "show", "guestbook", "--json")
            #expect((try host.json(shown.output) as? [String: Any])?["id"] as? String == "guestbook")
            let open = try await host.martlet("open", "guestbook", "--print")
            #expect(open.output == "http://guestbook.localhost:\(try host.port)/\n")
            let help = try await host.martlet("--help")
            #expect(help.status == 0)
            let commands = help.output.matches(of: #/(?m)^  ([a-z]+) {2,}\S/#).map { String($0.1) }
            #expect(commands.count > 10, "\(help.output)")
            for command in commands {
                let result = try await host.martlet(command, "--help")
                #expect(result.status == 0 && result.output.contains("OVERVIEW"), "\(command): \(result)")
            }
            let wrong = try await host.martlet("deplyo")
            #expect(wrong.status == 64, "\(wrong)")
            let refused = try await host.martlet("apps", "--api", "http://127.0.0.1:1")
            #expect(refused.status == 6, "\(refused)")
            #expect(refused.errors.contains("martlet up"), "\(refused.errors)")
        }
    }

    @Test func `a port that is in use is named, with what to do`() async throws {
        try await HostFixture.with { host in
            let other = host.folder.appending(path: "other").path
            let result = try await host.martlet("up", "--port", "\(try host.port)", "--data", other)
            #expect(result.status == 5, "\(result)")
            #expect(result.errors.contains("127.0.0.1:\(try host.port)"), "\(result.errors)")
            #expect(result.errors.contains("--port"), "\(result.errors)")
            let same = try await host.martlet(
                "up",
                "--port",
                "0",
                "--data",
                host.folder.appending(path: "data").path
            )
            #expect(same.status == 5, "\(same)")
            #expect(same.errors.contains("another martlet"), "\(same.errors)")
            // The first one was not disturbed, and the commands still find it.
            #expect(try await host.martlet("apps").status == 0)
        }
    }
}
