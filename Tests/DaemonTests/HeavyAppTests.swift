import TestSupport
import Control
@testable import Daemon
import Foundation
import Storage
import StorageTestSupport
import Testing

/// Apps that use much, and how they are held back.
@Suite(.serialized) struct HeavyAppTests {
    private static let heavy = """
        let kept = 0;
        export default {
          async fetch(request: Request) {
            const { pathname, searchParams } = new URL(request.url);
            if (pathname === "/loop") for (;;) kept++;
            if (pathname === "/write") {
              const chunk = new Uint8Array(1 << 20).fill(1);
              const file = Deno.openSync(Deno.env.get("MARTLET_DATA") + "/" + (searchParams.get("to") ?? "large"), { write: true, create: true });
              for (let index = 0; index < Number(searchParams.get("mib")); index++) {
                file.writeSync(chunk);
                if (index % 8 === 0) await new Promise((done) => setTimeout(done, 10));
              }
              file.close();
            }
            return new Response("done");
          },
        };
        """

    private func logs(_ host: HostFixture, of app: String, have text: String) async throws -> Bool {
        let records = try await host.daemon.logs(
            of: ApplicationID(validating: app),
            since: nil,
            follow: false
        )
        for try await record in records where record.message.contains(text) { return true }
        return false
    }

    @Test(.enabled(if: geteuid() == 0, "control groups take root"))
    func `an app that needs more CPU time than it may have is told so`() async throws {
        try await HostFixture.with { host in
            try await host.deploy(
                "slow",
                [
                    "main.ts": Self.heavy,
                    "martlet.json": "{ \"limits\": { \"cpu\": 0.1, \"requestTimeout\": \"3s\" } }",
                ]
            )
            try await host.deploy("other", Apps.counter)
            let answer = try await host.send("GET", "/loop", to: "slow")
            #expect(answer.status == 504 && answer.body.contains("\"cpu_limit\""), "\(answer)")
            #expect(answer.body.contains("0.1 of a core"), "\(answer.body)")
            try await HostFixture.wait("the log says the same") {
                try await logs(host, of: "slow", have: "0.1 of a core")
            }
            #expect(try await host.send(to: "other").body == "1")
            #expect(try await host.send(to: "slow").body == "done")
        }
    }

    @Test(.enabled(if: geteuid() == 0, "control groups take root"))
    func `an app that writes too fast is slowed down, told so, and goes on`() async throws {
        try await HostFixture.with {
            $0.limits.writtenBytesPerSecond = 16 << 20
        } _: { host in
            try await host.deploy("writer", ["main.ts": Self.heavy])
            try await host.deploy("other", Apps.counter)
            let answer = try await host.send("GET", "/write?mib=128", to: "writer")
            #expect(answer.body == "done", "\(answer)")
            try await HostFixture.wait("the log says that it was slowed down") {
                try await logs(host, of: "writer", have: "slowed down")
            }
            #expect(try await host.send(to: "other").body == "1")
            // It can be stopped while it is held back, and started again.
            async let writing = host.send("POST", "/write?mib=256&to=second", to: "writer")
            try await Task.sleep(for: .seconds(1))
            try await host.daemon.killWorkers(of: ApplicationID(validating: "writer"))
            let cut = try await writing
            #expect(cut.status == 502, "\(cut)")
            #expect(try await host.send(to: "writer").body == "done")
        }
    }

    @Test(.enabled(if: geteuid() == 0, "the native calls of attacks are for the kernel's own sandbox"))
    func `what an app puts in place of its databases harms neither the host nor its neighbour`() async throws
    {
        try await withStore { store in
            try await HostFixture.with {
                $0.store = store
            } _: { host in
                try await host.deploy("odd", Apps.evaluator)
                try await host.deploy("counter", Apps.counter)
                let swaps = [
                    // A folder with the database's name.
                    "Deno.removeSync(data + '/main.db'); Deno.mkdirSync(data + '/main.db');",
                    // Another name for another database of its own, and one of a file that is none.
                    "Deno.linkSync(data + '/other.db', data + '/main.db');",
                    "Deno.writeTextFileSync(data + '/main.db', 'x'.repeat(100_000));",
                    // Much that is not there.
                    "Deno.truncateSync(data + '/main.db', 900_000_000);",
                    "Deno.writeFileSync(data + '/main.db', new Uint8Array(0));",
                    "Deno.removeSync(data + '/main.db-wal'); Deno.mkdirSync(data + '/main.db-wal');",
                    "for (let i = 0; i < 200; i++) { Deno.renameSync(data + '/main.db', data + '/moved.db'); "
                        + "Deno.renameSync(data + '/moved.db', data + '/main.db'); }",
                ]
                for (number, swap) in swaps.enumerated() {
                    let code = """
                        for (const name of ["main.db", "main.db-wal", "main.db-shm"]) {
                          try { Deno.removeSync(data + "/" + name, { recursive: true }); } catch { /* not there */ }
                        }
                        for (const name of ["main.db", "other.db"]) {
                          const db = new DatabaseSync(data + "/" + name);
                          db.exec("pragma journal_mode = wal; create table if not exists t (n); insert into t values (1)");
                          if (name === "other.db") db.close();
                        }
                        await new Promise((done) => setTimeout(done, 300));
                        try { Deno.removeSync(data + "/main.db-none"); } catch { /* not there */ }
                        try { \(swap) } catch (error) { return String(error); }
                        return "swapped";
                        """
                    let outcome = try await host.evaluate(code, in: "odd")
                    #expect(outcome.value != nil, "\(swap): \(outcome)")
                    #expect(try await host.send(to: "counter").body == "\(number + 1)", "\(swap)")
                }
                for (link, target) in [("link.db", "../../counter/data/main.db"), ("etc", "/etc")] {
                    let code = "Deno.symlinkSync('\(target)', data + '/\(link)'); return 'made';"
                    let outcome = try await host.evaluate(code, in: "odd")
                    #expect(outcome.value == nil, "\(outcome)")
                }
                // All of it is looked at by the host when the app ends, starts again and is deployed anew.
                try await host.daemon.killWorkers(of: ApplicationID(validating: "odd"))
                try await HostFixture.wait("the app answers again") {
                    try await host.send(to: "odd").status == 200
                }
                var files = Apps.evaluator
                files["more.txt"] = "another version"
                try await host.deploy("odd", files)
                #expect(try await host.send(to: "odd").status == 200)
                #expect(try await host.send(to: "counter").body == "\(swaps.count + 1)")
                // The neighbour's replica is its own, and whole.
                let databases = try #require(await host.daemon.databases)
                let counter = try ApplicationID(validating: "counter")
                try await HostFixture.wait("the neighbour is asleep") {
                    await host.daemon.putToSleep(counter, isDeep: true)
                    return try await host.state(of: "counter") == .asleep
                }
                _ = try await databases.settled(counter, within: .seconds(60))
            }
        }
    }

    private static let crun = "/usr/bin/crun"

    @Test(
        .enabled(
            if: geteuid() == 0 && FileManager.default.isExecutableFile(atPath: Self.crun),
            "crun takes root here"
        )
    )
    func `an app lives in a sandbox by crun as it does in one by bubblewrap`() async throws {
        try await HostFixture.with {
            $0.sandbox = .oci(URL(fileURLWithPath: Self.crun))
            $0.sleep.after = .milliseconds(300)
            $0.sleep.frozenFor = .zero
        } _: { host in
            #expect(host.daemon.summary.contains("crun"))
            try await host.deploy("counter", Apps.counter)
            #expect(try await host.send(to: "counter").body == "1")
            try await host.wait("counter", for: .asleep)
            #expect(try await host.send(to: "counter").body == "2")
            try await host.deploy("probe", Apps.evaluator)
            let status = try await host.evaluate(
                """
                const text = Deno.readTextFileSync("/proc/self/status");
                const field = (name) => text.match(new RegExp(name + ":\\\\s*(\\\\S+)"))[1];
                return [field("CapEff"), field("NoNewPrivs"), field("Seccomp"), Deno.uid(),
                  [...Deno.readDirSync("/")].map((entry) => entry.name).sort().join()].join(" ");
                """,
                in: "probe"
            )
            #expect(
                status.value
                    == "0000000000000000 1 2 1000 app,bin,cache,data,dev,etc,lib,lib64,proc,run,runtime,tmp,usr,var",
                "\(status)"
            )
            let state = host.folder.path + "/state"
            for path in [state, "/etc/passwd", "/proc/1/root\(state)", "/sys/fs/cgroup"] {
                let code = "Deno.statSync('\(path)'); return 'there';"
                #expect(try await host.evaluate(code, in: "probe").value == nil, "\(path)")
            }
        }
    }
}
