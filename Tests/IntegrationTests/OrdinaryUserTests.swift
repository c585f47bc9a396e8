import Foundation
import Glibc
import TestSupport
import Testing

/// A host that is run by a user without rights, as most people will run it.
@Suite(.serialized) struct OrdinaryUserTests {
    private static let account = Account(identifier: 54_321)

    private static let counter = """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("create table if not exists visits (at text)");
        export default {
          fetch() {
            db.exec("insert into visits values (datetime())");
            return Response.json(db.prepare("select count(*) as n from visits").get());
          },
        };
        """

    /// Why the machine cannot try it; nil where it can.
    private static let obstacle: String? = {
        if geteuid() != 0 { return "the tests are an ordinary user's already: all others say how that goes" }
        if !account.may("true") { return "there is no setpriv (Debian's package util-linux)" }
        if !account.may("unshare", "--user", "--map-root-user", "true") {
            return "ordinary users may not have user namespaces here"
        }
        return nil
    }()

    @Test(.disabled(if: obstacle != nil, Comment(rawValue: obstacle ?? "")))
    func `an ordinary user deploys, serves and wakes apps in sandboxes`() async throws {
        // Without a word nothing starts.
        let refusal = await #expect(throws: Failure.self) {
            try await HostFixture.with(as: Self.account) { _ in }
        }
        let told = refusal?.description ?? ""
        #expect(told.hasPrefix("martlet up ended with status ") && !told.contains("status 0:"), "\(told)")
        #expect(told.contains("--without limits"), "\(told)")

        try await HostFixture.with(arguments: ["--without", "limits"], as: Self.account) { host in
            #expect(host.log.contains("sandbox: bubblewrap"), "\(host.log)")
            let counter = try host.app("counter", Self.counter)
            #expect(try await host.martlet("deploy", counter).status == 0, "\(host.log)")
            for number in 1...2 {
                let answer = try await host.request("counter", "/").output
                #expect(answer == "{\"n\":\(number)}\n200", "\(answer)")
            }
            let deployed = try await host.martlet("deploy", "examples/guestbook")
            #expect(deployed.status == 0, "\(deployed.errors)\(host.log)")
            #expect(try await host.request("guestbook", "/").output.hasSuffix("200"))
            let workers = Machine.processes(ofUser: Self.account.identifier).filter { $0.program == "deno" }
            #expect(!workers.isEmpty)
            let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
            for worker in workers {
                let status = (try? String(contentsOfFile: "/proc/\(worker.id)/status", encoding: .utf8)) ?? ""
                // It may just have ended.
                guard !status.isEmpty else { continue }
                for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
                    #expect(status.contains(line), "\(line)\n\(status)")
                }
                let network = try? FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/\(worker.id)/ns/net"
                )
                #expect(network != own)
            }
            await host.kill()
            try await host.start("--without", "limits")
            #expect(try await host.request("guestbook", "/entries").output.hasSuffix("200"))
            #expect(await host.stop() == 0, "\(host.log)")
            try await eventually("nothing of the user runs") {
                Machine.processes(ofUser: Self.account.identifier).isEmpty
            }
        }
    }
}
