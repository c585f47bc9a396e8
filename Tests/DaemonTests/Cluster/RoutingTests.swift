import Control
@testable import Daemon
import Foundation
import Testing

/// Requests that reach a host that does not have the app.
@Suite(.serialized) struct RoutingTests {
    @Test func `a host with old routes costs a hop and is corrected by the owner`() async throws {
        try await ClusterFixture.with(["a", "b", "c"]) {
            // Only what the hosts say with their answers is to bring the news.
            $0.cluster?.gossipInterval = .seconds(3600)
        } _: { cluster in
            let (a, b, c) = (try cluster["a"], try cluster["b"], try cluster["c"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            _ = try await a.agent.quiesce(cluster.quiesceOrder(app.app, epoch: 1))
            try await cluster.adopt(app, on: b, epoch: 2, cause: .move)
            _ = try await a.agent.handOver(
                HandOverOrder(app: app.app, number: cluster.nextNumber(), host: b.route, epoch: 2)
            )
            try await cluster.publish([app.app: b], epoch: 2, to: [a, b])
            let newest = try #require(a.daemon.membership?.generation)
            #expect(c.daemon.membership?.generation == newest - 1)
            let answer = try await c.send(to: "witness")
            #expect(answer.headers["served-by"] == "b")
            #expect(answer.headers["peer-generation"] == nil)
            try await HostFixture.wait("c has the newer routes") { c.daemon.membership?.generation == newest }
            _ = try await a.agent.remove(
                RemoveOrder(app: app.app, number: cluster.nextNumber(), keepsReplica: true)
            )
            #expect(try await c.send(to: "witness").headers["served-by"] == "b")
        }
    }

    @Test func `an unknown app is answered by the owner of its slice`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let b = try cluster["b"]
            try await cluster.publish([:])
            let answer = try await b.send(to: "nobody")
            #expect(answer.status == 404)
            #expect(answer.body.contains("unknown_app"))
        }
    }

    @Test func `requests of an app that is on its way wait, but not too many and not too long`() async throws
    {
        try await ClusterFixture.with(["a", "b"]) {
            $0.limits.heldRequests = 3
            $0.limits.holdTime = .seconds(3)
        } _: { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            _ = try await a.agent.quiesce(cluster.quiesceOrder(app.app, epoch: 1))
            let answers = try await withThrowingTaskGroup(of: HTTPClient.Answer.self) { group in
                for _ in 0..<8 { group.addTask { try await b.send(to: "witness") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.allSatisfy { $0.status == 503 && $0.headers["retry-after"] != nil })
            #expect(answers.filter { $0.body.contains("too_many_held") }.count == 5)
            #expect(answers.filter { $0.body.contains("held_too_long") }.count == 3)
        }
    }

    @Test func `a socket through two hosts is told to come back when its app moves`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            let socket = try TestWebSocket(host: "witness.localhost", port: b.port, path: "/live")
            #expect(try socket.echo("hello") == "hello")
            let move = try await cluster.move(app, from: a, to: b, epoch: 1)
            #expect(move.quiesce.closedSockets == 1)
            let (code, reason) = try socket.waitForClose()
            #expect(code == 1012)
            #expect(reason != "")
            let next = try TestWebSocket(host: "witness.localhost", port: b.port, path: "/live")
            #expect(try next.echo("again") == "again")
        }
    }

    @Test func `requests that wait for a frozen host end when the routes drop it`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: b)
            let frozen = try await FrozenProgram.start()
            defer { frozen.end() }
            // The app is at a host that takes connections and does nothing more: its process is stopped.
            try await cluster.publish(routes: [app.app: frozen.route], also: [frozen.route])
            async let reading = a.send(to: "witness")
            async let writing = a.send("POST", "/?id=one", to: "witness")
            try await HostFixture.wait("both are forwarded") { frozen.forwarded(by: a) == 2 }
            // It is declared lost, and the app is elsewhere.
            try await cluster.publish([app.app: b], epoch: 2)
            let answer = try await reading
            #expect(answer.status == 200, "a request that changes nothing is sent anew: \(answer.body)")
            #expect(answer.headers["served-by"] == "b")
            let refused = try await writing
            #expect(refused.status == 502, "nobody knows whether the frozen host did it")
            #expect(refused.body.contains("upstream_lost"))
            #expect(frozen.forwarded(by: a) == 0)
        }
    }

    @Test func `requests for a host that is gone wait for the routes to change`() async throws {
        try await ClusterFixture.with(["a", "b", "c"]) { cluster in
            let (a, b, c) = (try cluster["a"], try cluster["b"], try cluster["c"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            let term = try #require(await a.daemon.leaseTerm())
            await cluster.stop(a)
            async let waiting = c.send("POST", "/?id=one", to: "witness")
            try await Task.sleep(for: .milliseconds(300))
            try await cluster.adopt(app, on: b, epoch: 2, cause: .failover, ended: ["a": term])
            try await cluster.publish([app.app: b], epoch: 2)
            let answer = try await waiting
            #expect(answer.status == 200)
            #expect(answer.headers["served-by"] == "b")
        }
    }
}
