import Control
@testable import Daemon
import Foundation
import Storage
import TestSupport
import Testing

/// Hosts that lose their right to serve, and others that take over.
@Suite(.serialized) struct LeaseTests {
    @Test func `a host whose lease is revoked stops before another serves, and sends requests there`()
        async throws
    {
        try await ClusterFixture.with(["a", "b"], lease: .seconds(10)) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            let clients = Witnesses(app: "witness", ports: [a.port, b.port], writers: 2, readers: 2)
            try await Task.sleep(for: .milliseconds(500))
            let refused = await #expect(throws: MartletError.self) {
                try await cluster.adopt(app, on: b, epoch: 2, cause: .move)
            }
            #expect(refused?.code == .ownedElsewhere)
            let ended = try await cluster.endLease(of: a)
            try await cluster.adopt(app, on: b, epoch: 2, cause: .failover, ended: ["a": ended])
            try await cluster.publish([app.app: b], epoch: 2)
            try await HostFixture.wait("a has a new lease") { await a.daemon.leaseTerm() == ended + 1 }
            try await HostFixture.wait("a sends requests on") {
                try await a.send(to: "witness").headers["served-by"] == "b"
            }
            await clients.stop()
            #expect(clients.contradictions == [])
            // Between the two, requests may have been refused, but never answered by both.
            #expect(Set(clients.failed.map(\.status)).isSubset(of: [502, 503]))
            #expect(clients.all.contains { $0.host == "a" } && clients.all.contains { $0.host == "b" })
        }
    }

    @Test func `a host that reaches neither store nor control stops in time, and takes up again`()
        async throws
    {
        try await ClusterFixture.with(["a"], lease: .seconds(10)) { cluster in
            let a = try cluster["a"]
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            #expect(try await a.send("POST", "/?id=one", to: "witness").status == 200)
            try cluster.hideStore()
            let last = ContinuousClock.now
            try await HostFixture.wait("a refuses") {
                try await a.send(to: "witness").status == 503
            }
            #expect(try await a.send(to: "witness").headers["retry-after"] != nil)
            // Who had revoked the lease when the store went would serve from this moment on at the earliest.
            #expect(last.duration(to: .now) < .seconds(60))
            try await HostFixture.wait("no worker is left") {
                try await a.daemon.application(app.app).memoryBytes == nil
            }
            try cluster.showStore()
            try await HostFixture.wait("a serves again") { try await a.send(to: "witness").status == 200 }
            let answer = try await a.send("GET", "/?id=one", to: "witness")
            #expect(answer.body == "1")
            #expect(answer.headers["served-epoch"] == "1")
        }
    }

    @Test func `a host that is cut off from the store alone goes on`() async throws {
        try await ClusterFixture.with(["a"], lease: .seconds(10)) { cluster in
            let a = try cluster["a"]
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            #expect(try await a.send("POST", "/?id=one", to: "witness").status == 200)
            try cluster.hideStore()
            let end = ContinuousClock.now + .seconds(12)
            while ContinuousClock.now < end {
                // What a session does whose signs of life arrive.
                a.daemon.confirmLease(sentAt: .now)
                #expect(try await a.send(to: "witness").status == 200)
                try await Task.sleep(for: .milliseconds(100))
            }
            try cluster.showStore()
            #expect(try await a.send("GET", "/?id=one", to: "witness").body == "1")
        }
    }

    @Test func `a host that is started again serves what is its own still, and lets go what is not`()
        async throws
    {
        try await ClusterFixture.with(["a", "b"], lease: .seconds(10)) { cluster in
            let b = try cluster["b"]
            let mine = try await cluster.specification("mine", Apps.witness)
            let moved = try await cluster.specification("moved", Apps.witness)
            let term = try await prepareTwo(cluster, mine, moved)
            try await cluster.stop("a")
            try await cluster.adopt(moved, on: b, epoch: 2, cause: .failover, ended: ["a": term])
            // It finds the routes that it had, which are no longer true.
            let again = try await cluster.start("a")
            #expect(try await again.daemon.residents() == [.init(app: mine.app, epoch: 1)])
            let answer = try await again.send("GET", "/?id=one", to: "mine")
            #expect(answer.body == "1")
            #expect(answer.headers["served-epoch"] == "1")
            try await cluster.publish([mine.app: again, moved.app: b], epoch: 2)
            let other = try await again.send("GET", "/?id=one", to: "moved")
            #expect(other.body == "1")
            #expect(other.headers["served-by"] == "b")
        }
    }

    /// Places two apps on the first host and writes to both.
    ///
    /// - Returns: the term of the host's lease.
    private func prepareTwo(
        _ cluster: ClusterFixture,
        _ mine: ApplicationSpecification,
        _ moved: ApplicationSpecification
    ) async throws -> Int {
        let a = try cluster["a"]
        try await cluster.adopt(mine, on: a)
        try await cluster.adopt(moved, on: a)
        try await cluster.publish([mine.app: a, moved.app: a])
        for app in ["mine", "moved"] {
            #expect(try await a.send("POST", "/?id=one", to: app).status == 200)
        }
        return try #require(await a.daemon.leaseTerm())
    }
}
