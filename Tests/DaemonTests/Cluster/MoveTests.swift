import Control
@testable import Daemon
import Foundation
import Storage
import Testing

/// Moves between hosts with real workers, Litestream and a store, in the order in which workflows ask for them.
@Suite(.serialized) struct MoveTests {
    @Test func `an app moves between hosts under load without a failed request or a lost row`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            let clients = Witnesses(app: "witness", ports: [a.port, b.port], writers: 4, readers: 4)
            var epoch = 1
            for (old, new) in [(a, b), (b, a), (a, b)] {
                try await Task.sleep(for: .milliseconds(500))
                let move = try await cluster.move(app, from: old, to: new, epoch: epoch)
                #expect(move.adopt.epoch == epoch + 1)
                #expect(move.quiesce.positions.map(\.database) == ["main.db"])
                #expect(move.follow?.databases == 1)
                epoch += 1
            }
            try await Task.sleep(for: .milliseconds(500))
            await clients.stop()
            #expect(clients.failed.map { "\($0.status) \($0.body)" } == [])
            #expect(clients.contradictions == [])
            #expect(clients.all.count > 100)
            let kept = try await kept(cluster, by: a)
            #expect(clients.acknowledged.subtracting(kept) == [])
            #expect(Set(clients.all.map(\.epoch)) == [1, 2, 3, 4])
            // The files are gone from the host that the app left.
            let left = cluster.folder.appending(path: "a/state/apps/witness")
            #expect(!FileManager.default.fileExists(atPath: left.path))
        }
    }

    @Test func `a move that comes to nothing is taken back by the old host`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            #expect(try await b.send("POST", "/?id=one", to: "witness").status == 200)
            _ = try await b.agent.prepare(PrepareOrder(specification: app, number: cluster.nextNumber()))
            _ = try await b.agent.follow(
                FollowOrder(app: app.app, number: cluster.nextNumber(), fromEpoch: 1)
            )
            let quiesce = try await a.agent.quiesce(cluster.quiesceOrder(app.app, epoch: 1))
            #expect(quiesce.wasAwake)
            async let held = b.send("GET", "/?id=one", to: "witness")
            let resumed = try await a.agent.resume(
                ResumeOrder(app: app.app, number: cluster.nextNumber(), epoch: 2)
            )
            #expect(resumed.epoch == 2)
            try await b.agent.abandon(AbandonOrder(app: app.app, number: cluster.nextNumber()))
            let answer = try await held
            #expect(answer.body == "1")
            #expect(answer.headers["served-by"] == "a")
            #expect(answer.headers["served-epoch"] == "2")
            let prepared = cluster.folder.appending(path: "b/state/apps/witness")
            #expect(!FileManager.default.fileExists(atPath: prepared.path))
        }
    }

    @Test func `a host goes on by itself when nobody says how a move goes on`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            _ = try await a.agent.quiesce(cluster.quiesceOrder(app.app, epoch: 1, patience: 300))
            let answer = try await b.send("POST", "/?id=one", to: "witness")
            #expect(answer.status == 200, "\(answer.body)")
            #expect(answer.headers["served-epoch"] == "2")
            // A late adoption of the move that was given up is refused: the app has an owner.
            let error = await #expect(throws: MartletError.self) {
                try await cluster.adopt(app, on: b, epoch: 2, cause: .move)
            }
            #expect(error?.code == .ownedElsewhere)
            #expect((error?.cause as? OrderRefusal)?.holder == a.id)
            #expect(try await b.send("GET", "/?id=one", to: "witness").body == "1")
        }
    }

    @Test func `an app that its new host cannot start is served on by the old one`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            #expect(try await b.send("POST", "/?id=one", to: "witness").status == 200)
            var broken = try await cluster.specification(
                "witness",
                ["main.ts": "throw new Error('not here');"]
            )
            broken.app = app.app
            _ = try await b.agent.prepare(PrepareOrder(specification: broken, number: cluster.nextNumber()))
            _ = try await b.agent.follow(
                FollowOrder(app: app.app, number: cluster.nextNumber(), fromEpoch: 1)
            )
            let order = cluster.cutOverOrder(broken, to: b, epoch: 1)
            let error = await #expect(throws: MartletError.self) { _ = try await a.agent.cutOver(order) }
            #expect(error?.code == .checkFailed)
            // Nobody has said so: it goes on by itself, with what the other has given up.
            let answer = try await b.send("GET", "/?id=one", to: "witness")
            #expect(answer.body == "1")
            #expect(answer.headers["served-by"] == "a")
            #expect(answer.headers["served-epoch"] == "3")
        }
    }

    @Test func `an app whose new host does not answer is served on by the old one`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            #expect(try await b.send("POST", "/?id=one", to: "witness").status == 200)
            var order = cluster.cutOverOrder(app, to: b, epoch: 1)
            // Port 1 of this machine: nobody listens there.
            order.host = RouteHost(id: b.id, peer: HostAddress(address: "127.0.0.1", port: 1))
            let error = await #expect(throws: MartletError.self) { _ = try await a.agent.cutOver(order) }
            #expect(error?.code == .unavailable)
            let answer = try await b.send("GET", "/?id=one", to: "witness")
            #expect(answer.body == "1")
            #expect(answer.headers["served-by"] == "a")
            #expect(answer.headers["served-epoch"] == "2")
            // An answer that is lost is like this, too: the order comes again, and its time has passed.
            let resumed = try await a.agent.resume(
                ResumeOrder(app: app.app, number: cluster.nextNumber(), epoch: 2)
            )
            #expect(resumed.epoch == 2)
        }
    }

    @Test func `orders of other hosts are taken from hosts alone`() async throws {
        try await ClusterFixture.with(["a"]) { cluster in
            let a = try cluster["a"]
            let peer = a.route.peer
            for port in [a.port, peer.port] {
                let answer = try await HTTPClient.send(
                    "POST",
                    "/",
                    host: ClusterView.ordersName,
                    port: port,
                    timeout: 60
                )
                #expect(answer.status >= 400, "port \(port)")
                #expect(!answer.body.contains("failure"), "port \(port)")
            }
        }
    }

    @Test func `an app that cannot start on its new host stays on the old one`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            var broken = try await cluster.specification(
                "witness",
                ["main.ts": "throw new Error('not here');"]
            )
            broken.app = app.app
            _ = try await b.agent.prepare(PrepareOrder(specification: broken, number: cluster.nextNumber()))
            _ = try await a.agent.quiesce(cluster.quiesceOrder(app.app, epoch: 1))
            let error = await #expect(throws: MartletError.self) {
                try await cluster.adopt(broken, on: b, epoch: 2, cause: .move)
            }
            #expect(error?.code == .checkFailed)
            let resumed = try await a.agent.resume(
                ResumeOrder(app: app.app, number: cluster.nextNumber(), epoch: 3)
            )
            #expect(resumed.epoch == 3)
            let answer = try await b.send(to: "witness")
            #expect(answer.headers["served-by"] == "a")
        }
    }

    @Test func `a host without a warm copy restores the databases, and secrets come along`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification(
                "witness",
                Apps.witness,
                environment: ["GREETING": "psst"]
            )
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            #expect(try await a.send("POST", "/?id=one", to: "witness").status == 200)
            let move = try await cluster.move(app, from: a, to: b, epoch: 1, follows: false)
            #expect(move.follow == nil)
            #expect(move.adopt.databases == 1)
            #expect(try await a.send("GET", "/greeting", to: "witness").body == "psst")
            #expect(try await a.send("GET", "/?id=one", to: "witness").body == "1")
            _ = try await b.agent.remove(
                RemoveOrder(app: app.app, number: cluster.nextNumber(), keepsReplica: false)
            )
            try await cluster.publish([:])
            #expect(try await b.send(to: "witness").status == 404)
        }
    }

    @Test func `an order that comes late is refused and one that comes again changes nothing`() async throws {
        try await ClusterFixture.with(["a", "b"]) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("witness", Apps.witness)
            let order = AdoptOrder(
                specification: app,
                number: 7,
                epoch: 1,
                fromEpoch: nil,
                cause: .first,
                isAwake: true
            )
            let first = try await a.agent.adopt(order)
            #expect(try await a.agent.adopt(order) == first)
            let error = await #expect(throws: MartletError.self) {
                try await a.agent.remove(RemoveOrder(app: app.app, number: 6, keepsReplica: true))
            }
            #expect(error?.code == .staleOrder)
            #expect((error?.cause as? OrderRefusal)?.number == 7)
            try await cluster.publish([app.app: a])
            #expect(try await b.send(to: "witness").status == 200)
            let quiesce = QuiesceOrder(
                app: app.app,
                number: 8,
                epoch: 1,
                drainMilliseconds: 1000,
                patienceMilliseconds: 60_000
            )
            async let once = a.agent.quiesce(quiesce)
            async let again = a.agent.quiesce(quiesce)
            #expect(try await once == again)
            let wrong = QuiesceOrder(
                app: app.app,
                number: 9,
                epoch: 5,
                drainMilliseconds: 1000,
                patienceMilliseconds: 60_000
            )
            _ = try await a.agent.resume(ResumeOrder(app: app.app, number: 9, epoch: 2))
            let stale = await #expect(throws: MartletError.self) {
                try await a.agent.quiesce(
                    QuiesceOrder(
                        app: app.app,
                        number: 10,
                        epoch: wrong.epoch,
                        drainMilliseconds: 1000,
                        patienceMilliseconds: 60_000
                    )
                )
            }
            #expect(stale?.code == .staleOrder)
        }
    }

    private func kept(_ cluster: ClusterFixture, by member: ClusterFixture.Member) async throws -> Set<String>
    {
        let text = try await member.send("GET", "/all", to: "witness").body
        return Set(try JSONDecoder().decode([String].self, from: Data(text.utf8)))
    }
}
