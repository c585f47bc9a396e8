import ClusterContract
import Control
@testable import Daemon
import Foundation
import TestSupport
import Testing

/// Apps that attack while they are moved, beside neighbours that are written to all the time.
@Suite(.serialized) struct HostileMoveTests {
    static let attacks = ["corrupt", "fill", "lock", "swap", "many", "linger"]

    @Test func `a move of a hostile app ends or is taken back, and its neighbours do not notice`()
        async throws
    {
        try await ClusterFixture.with(["a", "b"]) {
            $0.cluster?.moves.settle = .seconds(5)
            $0.cluster?.moves.catchUp = .seconds(5)
            $0.timeouts.stop = .seconds(2)
        } _: { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            // A neighbour on the host that is left, and one on the host that is entered.
            let first = try await cluster.specification("witness", Apps.witness)
            let second = try await cluster.specification("other", Apps.witness)
            try await cluster.adopt(first, on: a)
            try await cluster.adopt(second, on: b)
            var owners = [first.app: a, second.app: b]
            var epochs = [first.app: 1, second.app: 1]
            try await publish(cluster, owners, epochs)
            let clients = ["witness", "other"].map {
                Witnesses(app: $0, ports: [a.port, b.port], writers: 1, readers: 1, pause: .milliseconds(30))
            }
            for attack in Self.attacks {
                let app = try await cluster.specification("mover-\(attack)", Apps.mover)
                let name = app.app.rawValue
                try await cluster.adopt(app, on: a)
                (owners[app.app], epochs[app.app]) = (a, 1)
                try await publish(cluster, owners, epochs)
                let victim = cluster.folder.path + "/a/state/apps/witness/data"
                let query = victim.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? victim
                let begun = try await a.send("GET", "/attack?case=\(attack)&victim=\(query)", to: name)
                #expect(begun.body == "begun", "\(attack): \(begun.status) \(begun.body)")
                // The attack is under way, and some of it is replicated.
                try await Task.sleep(for: .milliseconds(500))
                if let epoch = try await cutOver(app, attack, cluster, from: a, to: b) {
                    (owners[app.app], epochs[app.app]) = (b, epoch)
                }
                try await publish(cluster, owners, epochs)
                if owners[app.app] === b {
                    let order = RemoveOrder(app: app.app, number: cluster.nextNumber(), keepsReplica: true)
                    _ = try await a.agent.remove(order)
                }
                // Whoever has it answers for it, or says what is wrong with it.
                let answer = try await b.send(to: name)
                #expect(
                    answer.body == "mover" || answer.body.contains("\"message\":"),
                    "\(attack): \(answer.status) \(answer.body.prefix(300))"
                )
                for (host, neighbour) in [(a, "witness"), (b, "other")] {
                    let answer = try await host.send(to: neighbour)
                    #expect(answer.status == 200, "\(neighbour) after \(attack): \(answer.body.prefix(300))")
                }
                // It is on one of them.
                for host in [a, b] { try? await host.daemon.killWorkers(of: app.app) }
            }
            for (client, name) in zip(clients, ["witness", "other"]) {
                await client.stop()
                #expect(client.failed.map { "\($0.status) \($0.body)" } == [], "\(name)")
                #expect(client.contradictions == [], "\(name)")
                #expect(client.all.count > 50)
                #expect(Set(client.all.map(\.epoch)) == [1], "\(name)")
                let kept = try await a.send("GET", "/all", to: name).body
                let rows = Set(try JSONDecoder().decode([String].self, from: Data(kept.utf8)))
                #expect(client.acknowledged.subtracting(rows) == [], "\(name)")
            }
        }
    }

    /// A move up to the new routes, as the app's workflow asks for it.
    ///
    /// - Returns: the epoch at its new host, or nil when the old one goes on with it.
    private func cutOver(
        _ app: ApplicationSpecification,
        _ attack: String,
        _ cluster: ClusterFixture,
        from old: ClusterFixture.Member,
        to new: ClusterFixture.Member
    ) async throws -> Int? {
        do {
            _ = try await new.agent.prepare(PrepareOrder(specification: app, number: cluster.nextNumber()))
            _ = try await new.agent.follow(
                FollowOrder(app: app.app, number: cluster.nextNumber(), fromEpoch: 1)
            )
            return try await old.agent.cutOver(cluster.cutOverOrder(app, to: new, epoch: 1)).adopt.epoch
        } catch let error as MartletError {
            #expect(error.message.contains(app.app.rawValue), "\(attack): \(error.message)")
            #expect(
                [.unavailable, .checkFailed, .dataDamaged, .timeout].contains(error.code),
                "\(attack): \(error.code) \(error.message)"
            )
            try await new.agent.abandon(AbandonOrder(app: app.app, number: cluster.nextNumber()))
            return nil
        }
    }

    private func publish(
        _ cluster: ClusterFixture,
        _ owners: [ApplicationID: ClusterFixture.Member],
        _ epochs: [ApplicationID: Int]
    ) async throws {
        // The exceptions of the table are all of one epoch, the newest.
        try await cluster.publish(owners, epoch: epochs.values.max() ?? 1)
    }
}
