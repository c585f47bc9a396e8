import Control
import Daemon
import Foundation
import Testing

/// A host with real workers, used from outside.
@Suite(.serialized) struct HostTests {
    static let hello = [
        "main.ts": """
        export default { fetch(request: Request) { return new Response("hello from " + new URL(request.url).pathname); } };
        """
    ]

    static let counter = [
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
        db.exec("create table if not exists visits (n integer)");
        export default {
          fetch() {
            db.prepare("insert into visits values (1)").run();
            return new Response(String(db.prepare("select count(*) as n from visits").get().n));
          },
        };
        """
    ]

    @Test func `a deployed app answers, sleeps, and answers again`() async throws {
        try await HostFixture.with {
            $0.sleep.after = .milliseconds(200)
        } _: { host in
            let deployment = try await host.deploy("counter", Self.counter)
            #expect(deployment.url == "http://counter.localhost:\(host.port)/")
            #expect(try await host.send(to: "counter").body == "1")
            try await host.wait("counter", for: .frozen)
            #expect(try await host.send(to: "counter").body == "2")
        }
    }
}
