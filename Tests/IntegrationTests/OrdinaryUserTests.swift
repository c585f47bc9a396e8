import Foundation
import Glibc
import TestSupport
import Testing

/// A host that is run by a user without rights, as most people will run it.
@Suite(.serialized) struct OrdinaryUserTests {
    private static let account = Account(identifier: 54_321)

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
        try await HostFixture.with(arguments: ["--without", "limits"], as: Self.account) { host in
            #expect(host.log.contains("sandbox: bubblewrap"), "\(host.log)")
            let deployed = try await host.martlet("deploy", "examples/guestbook")
            #expect(deployed.status == 0, "\(deployed.errors)\(host.log)")
            #expect(try await host.request("guestbook", "/").output.hasSuffix("200"))
            let workers = Machine.processes(ofUser: Self.account.identifier).filter { $0.program == "deno" }
            #expect(!workers.isEmpty)
            for worker in workers {
                // It may just have ended.
                let status = (try? String(contentsOfFile: "/proc/\(worker.id)/status", encoding: .utf8)) ?? ""
                #expect(status.isEmpty || status.contains(/CapEff:\t0+\n/), "\(status)")
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
