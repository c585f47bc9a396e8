import Control
@testable import Daemon
import Foundation
import TestSupport
import Testing

/// Random accidents and moves, one after the other, under clients that remember who answered with which epoch.
///
/// `MARTLET_SEED` repeats a run, `MARTLET_ROUNDS` says how long it is.
@Suite(.serialized, .enabled(if: ProcessInfo.processInfo.environment["MARTLET_SOAK"] != nil))
struct ChaosTests {
    private enum Event: CaseIterable {
        case move, takenBack, abandonedByControl, leaseRevoked, storeGone, hostRestarted
    }

    @Test func `whatever happens, no two hosts answer for an app, and it is served in the end`() async throws
    {
        let environment = ProcessInfo.processInfo.environment
        let seed = environment["MARTLET_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...1_000_000)
        let rounds = environment["MARTLET_ROUNDS"].flatMap { Int($0) } ?? 50
        print("seed \(seed), \(rounds) rounds")
        try await ClusterFixture.with(["a", "b", "c"], lease: .seconds(3)) { cluster in
            var random = SeededGenerator(seed: seed)
            let app = try await cluster.specification("witness", Apps.witness)
            let names = ["a", "b", "c"]
            var (owner, epoch) = ("a", 1)
            try await cluster.adopt(app, on: try cluster[owner])
            try await cluster.publish([app.app: try cluster[owner]])
            for round in 1...rounds {
                let event = Event.allCases.randomElement(using: &random) ?? .move
                let other = names.filter { $0 != owner }.randomElement(using: &random) ?? "b"
                // Ports change when hosts are started again.
                let clients = Witnesses(
                    app: "witness",
                    ports: try names.map { try cluster[$0].port },
                    writers: 2,
                    readers: 2,
                    pause: .milliseconds(20)
                )
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...500, using: &random)))
                let before = (owner, epoch)
                (owner, epoch) = try await run(event, cluster, app, owner: owner, other: other, epoch: epoch)
                let (serving, at) = (owner, epoch)
                try await HostFixture.wait(
                    "round \(round), \(event): \(serving) serves epoch \(at), seed \(seed)"
                ) {
                    let answer = try await HTTPClient.send(
                        host: "witness.localhost",
                        port: try cluster[serving].port
                    )
                    return answer.status == 200 && answer.headers["served-by"] == serving
                        && answer.headers["served-epoch"] == "\(at)"
                }
                await clients.stop()
                #expect(clients.contradictions == [], "seed \(seed), round \(round): \(event) from \(before)")
                if [.move, .takenBack, .abandonedByControl].contains(event) {
                    #expect(
                        clients.failed.map { "\($0.status) \($0.body)" } == [],
                        "seed \(seed), round \(round)"
                    )
                }
            }
        }
    }

    private func run(
        _ event: Event,
        _ cluster: ClusterFixture,
        _ app: ApplicationSpecification,
        owner: String,
        other: String,
        epoch: Int
    ) async throws -> (owner: String, epoch: Int) {
        // Nothing here may hold on to a host that is to be started again.
        if case .hostRestarted = event {
            return try await restart(cluster, app, owner: owner, epoch: epoch)
        }
        let (old, new) = (try cluster[owner], try cluster[other])
        switch event {
        case .move:
            let move = try await cluster.move(app, from: old, to: new, epoch: epoch)
            return (other, move.adopt.epoch)
        case .takenBack:
            _ = try await new.agent.follow(
                FollowOrder(app: app.app, number: cluster.nextNumber(), fromEpoch: epoch)
            )
            _ = try await old.agent.quiesce(cluster.quiesceOrder(app.app, epoch: epoch))
            let resumed = try await old.agent.resume(
                ResumeOrder(app: app.app, number: cluster.nextNumber(), epoch: epoch + 1)
            )
            try await new.agent.abandon(AbandonOrder(app: app.app, number: cluster.nextNumber()))
            return (owner, resumed.epoch)
        case .abandonedByControl:
            _ = try await old.agent.quiesce(cluster.quiesceOrder(app.app, epoch: epoch, patience: 500))
            return (owner, epoch + 1)
        case .leaseRevoked:
            let term = try await cluster.endLease(of: old)
            let adopted = try await cluster.adopt(
                app,
                on: new,
                epoch: epoch + 1,
                cause: .failover,
                ended: [owner: term]
            )
            try await cluster.publish([app.app: new], epoch: adopted.epoch)
            try await HostFixture.wait("\(owner) has a lease again") {
                await old.daemon.leaseTerm() ?? 0 > term
            }
            return (other, adopted.epoch)
        case .storeGone:
            try cluster.hideStore()
            try await Task.sleep(for: .seconds(4))
            try cluster.showStore()
            return (owner, epoch)
        case .hostRestarted:
            return (owner, epoch)
        }
    }

    private func restart(
        _ cluster: ClusterFixture,
        _ app: ApplicationSpecification,
        owner: String,
        epoch: Int
    ) async throws -> (owner: String, epoch: Int) {
        try await cluster.stop(owner)
        try await cluster.start(owner)
        try await cluster.publish([app.app: try cluster[owner]], epoch: epoch)
        return (owner, epoch)
    }
}
