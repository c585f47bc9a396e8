import Control
@testable import Daemon
import Foundation
import Testing

@Suite struct NetworkTests {
    /// A host whose apps' packets go to the internet of the test.
    static func with(
        forwards: Bool = true,
        _ body: (HostFixture) async throws -> Void
    ) async throws {
        let internet = try TestInternet(forwards: forwards)
        try await HostFixture.with {
            $0.network.outside = internet.machinePath
            $0.network.resolvers = [internet.resolver]
            $0.network.limits.connections = 32
        } _: { fixture in
            await fixture.daemon.waitForNetwork()
            try await body(fixture)
        }
        withExtendedLifetime(internet) {}
    }

    @Test(.enabled(if: TestInternet.isPossible), arguments: [true, false])
    func `the public internet is reached and nothing else, by the kernel and through pasta`(
        forwards: Bool
    ) async throws {
        try await Self.with(forwards: forwards) { fixture in
            try await fixture.deploy("probe", Apps.evaluator)
            let four = try await fixture.evaluate(Apps.connecting(to: "198.51.100.7"), in: "probe")
            #expect(four.value == "hello from 198.51.100.7", "\(four)")
            let name = try await fixture.evaluate(Apps.connecting(to: "public.test"), in: "probe")
            #expect(name.value == "hello from 198.51.100.7", "\(name)")
            let six = try await fixture.evaluate(Apps.connecting(to: "2400:cb01::7"), in: "probe")
            #expect(six.value == "hello from 2400:cb01::7", "\(six)")
            let all = TestInternet.forbidden.map { "\"\($0)\"" }.joined(separator: ",")
            let code = """
                const results = await Promise.all([\(all)].map(async (address) => {
                  try {
                    \(Apps.connecting(to: "\" + address + \"").replacing("return ", with: "const text = "))
                    return address + " answered " + text;
                  } catch { return ""; }
                }));
                return results.filter((text) => text !== "").join("; ");
                """
            let outcome = try await fixture.evaluate(code, in: "probe")
            #expect(outcome.value == "", "\(outcome)")
        }
    }

    @Test(.enabled(if: TestInternet.isPossible))
    func `names that lead to private addresses have no answer`() async throws {
        try await Self.with { fixture in
            try await fixture.deploy("probe", Apps.evaluator)
            for name in ["private", "metadata", "loopback", "mixed", "mapped", "local6", "machine", "none"] {
                let outcome = try await fixture.evaluate(
                    "return JSON.stringify(await Promise.allSettled(['A','AAAA'].map((kind) => "
                        + "Deno.resolveDns('\(name).test', kind))).then((all) => all.flatMap((one) => one.value ?? [])));",
                    in: "probe"
                )
                #expect(outcome.value == "[]", "\(name): \(outcome)")
            }
            let large = try await fixture.evaluate(
                "return String((await Deno.resolveDns('large.test', 'A')).length);",
                in: "probe"
            )
            #expect(large.value == "60", "\(large)")
            // Public when it is looked up first, private from then on.
            let rebinding = try await fixture.evaluate(
                "const first = (await Deno.resolveDns('a.rebind.test', 'A')).join();\n"
                    + Apps.connecting(to: "a.rebind.test"),
                in: "probe"
            )
            #expect(rebinding.value == nil, "\(rebinding)")
            try await HostFixture.wait("the log tells of refused names") {
                let records = try await fixture.daemon.logs(
                    of: ApplicationID(validating: "probe"),
                    since: nil,
                    follow: false
                )
                for try await record in records where record.message.contains("10.9.9.9") { return true }
                return false
            }
        }
    }

    @Test(.enabled(if: TestInternet.isPossible))
    func `an app without network and one with a list of names get what they asked for`() async throws {
        try await Self.with { fixture in
            var files = Apps.evaluator
            files["martlet.json"] = "{ \"network\": \"none\" }"
            try await fixture.deploy("alone", files)
            for target in ["198.51.100.7", "public.test", "2400:cb01::7"] {
                let outcome = try await fixture.evaluate(Apps.connecting(to: target), in: "alone")
                #expect(outcome.value == nil, "\(target): \(outcome)")
            }
            files["martlet.json"] = "{ \"network\": [\"*.example.test\", \"six.test\"] }"
            try await fixture.deploy("listed", files)
            for target in ["198.51.100.7", "198.51.100.8", "public.test", "2400:cb01::7"] {
                let outcome = try await fixture.evaluate(Apps.connecting(to: target), in: "listed")
                #expect(outcome.value == nil, "\(target): \(outcome)")
            }
            for (name, address) in [("deep.api.example.test", "198.51.100.8"), ("six.test", "2400:cb01::7")] {
                let outcome = try await fixture.evaluate(Apps.connecting(to: name), in: "listed")
                #expect(outcome.value == "hello from \(address)", "\(name): \(outcome)")
            }
        }
    }

    @Test(.enabled(if: TestInternet.isPossible))
    func `an app has so many connections and no more, and its neighbour has its own`() async throws {
        try await Self.with { fixture in
            try await fixture.deploy("greedy", Apps.evaluator)
            try await fixture.deploy("modest", Apps.evaluator)
            let outcome = try await fixture.evaluate(
                """
                const opening = Array.from({ length: 60 }, () =>
                  Deno.connect({ hostname: "198.51.100.7", port: 8080 }).then(async (connection) => {
                    await connection.write(new TextEncoder().encode("keep"));
                    return connection;
                  }));
                const all = await Promise.allSettled(opening);
                globalThis.kept = all;
                return String(all.filter((one) => one.status === "fulfilled").length);
                """,
                in: "greedy"
            )
            #expect(outcome.value == "32", "\(outcome)")
            let modest = try await fixture.evaluate(Apps.connecting(to: "198.51.100.7"), in: "modest")
            #expect(modest.value == "hello from 198.51.100.7", "\(modest)")
        }
    }

    @Test(.enabled(if: TestInternet.isPossible))
    func `an app gets no more bandwidth than it may, in either direction`() async throws {
        let internet = try TestInternet(forwards: true)
        try await HostFixture.with {
            $0.network.outside = internet.machinePath
            $0.network.resolvers = [internet.resolver]
            $0.network.limits.bytesPerSecond = 1_000_000
        } _: { fixture in
            await fixture.daemon.waitForNetwork()
            try await fixture.deploy("heavy", Apps.evaluator)
            for direction in ["down", "up "] {
                // Milliseconds for 3 MB; without the limit it takes a few, and a busy machine only makes it more.
                let outcome = try await fixture.evaluate(
                    """
                    const connection = await Deno.connect({ hostname: "198.51.100.7", port: 8081 });
                    const began = performance.now();
                    await connection.write(new TextEncoder().encode("\(direction)".trim().padEnd(4)));
                    if ("\(direction)" !== "down") {
                      const bytes = new Uint8Array(3_000_000);
                      for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
                    }
                    let count = 0;
                    const buffer = new Uint8Array(65536);
                    for (let read; (read = await connection.read(buffer)) !== null;) count += read;
                    if (count < 4) throw new Error("only " + count + " bytes came");
                    return String(Math.round(performance.now() - began));
                    """,
                    in: "heavy"
                )
                let time = try #require(outcome.value.flatMap(Int.init), "\(direction): \(outcome)")
                #expect(time >= 2000, "\(direction)")
            }
        }
        withExtendedLifetime(internet) {}
    }

    @Test(.enabled(if: TestInternet.isPossible))
    func `the cluster's other hosts are out of reach, by number and by name`() async throws {
        try await Self.with { fixture in
            try await fixture.deploy("probe", Apps.evaluator)
            let before = try await fixture.evaluate(Apps.connecting(to: "198.51.100.8"), in: "probe")
            #expect(before.value == "hello from 198.51.100.8", "\(before)")
            let gateway = try #require(fixture.daemon.gateway)
            gateway.denyPeers(["198.51.100.8", "2400:cb01::7", "10.0.0.1", "no address"])
            for target in ["198.51.100.8", "api.example.test", "2400:cb01::7", "six.test"] {
                let outcome = try await fixture.evaluate(Apps.connecting(to: target), in: "probe")
                #expect(outcome.value == nil, "\(target): \(outcome)")
            }
            let other = try await fixture.evaluate(Apps.connecting(to: "198.51.100.7"), in: "probe")
            #expect(other.value == "hello from 198.51.100.7", "\(other)")
            // The host is gone from the cluster.
            gateway.denyPeers([])
            let after = try await fixture.evaluate(Apps.connecting(to: "198.51.100.8"), in: "probe")
            #expect(after.value == "hello from 198.51.100.8", "\(after)")
        }
    }
}
