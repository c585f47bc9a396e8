import Foundation
import StorageTestSupport
import Testing

/// One accident after the other, chosen at random, while clients use the apps through every host.
///
/// `MARTLET_SEED` repeats a run, `MARTLET_ROUNDS` says how long it is.
@Suite(
    "A cluster that has no luck",
    .serialized,
    .timeLimit(.minutes(120)),
    .enabled(if: Figures.isSoak),
    .enabled(if: TestNetwork.obstacle == nil, "\(TestNetwork.obstacle ?? "")")
)
struct RandomFaultTests {
    enum Accident: String, CaseIterable {
        case hostKilled, hostFrozen, hostStopped, controlKilled, temporalFrozen, temporalKilled, storeFrozen
        case storeKilled, cutFromStore, cutFromTemporal, cutFromBoth, cutFromPeers, unplugged, moved
        case killedWhileMoving, deployedWhileKilled
    }

    private static let apps = ["gated", "quick", "third"]

    @Test func `no two hosts ever answer for an app, and every app is served again`() async throws {
        let environment = ProcessInfo.processInfo.environment
        let seed = environment["MARTLET_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...1_000_000)
        let rounds = environment["MARTLET_ROUNDS"].flatMap { Int($0) } ?? 50
        print("seed \(seed), \(rounds) rounds")
        var random = SeededGenerator(seed: seed)
        var options = FaultCluster.Options()
        options.isOnNetwork = true
        try await FaultCluster.with(options) { cluster in
            try await cluster.deploy("gated")
            try await cluster.deploy("quick", durability: "async")
            try await cluster.deploy("third", sleepAfter: "2s")
            var acknowledged: [String: Set<String>] = [:]
            var newest: [String: Int] = [:]
            for round in 1...rounds {
                let accident = Accident.allCases.randomElement(using: &random) ?? .moved
                let clients = Clients(on: cluster.client)
                clients.start(
                    cluster.doors.flatMap { door in
                        Self.apps.map {
                            Clients.Task(
                                app: $0,
                                doors: [door],
                                pause: .milliseconds(100),
                                patience: .seconds(30)
                            )
                        }
                    }
                )
                let begin = ContinuousClock.now
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...1000, using: &random)))
                let host = ["h1", "h2", "h3"].randomElement(using: &random) ?? "h1"
                let length = Duration.milliseconds(Int.random(in: 500...20_000, using: &random))
                let what = "round \(round) of seed \(seed): \(accident) \(host) for \(length)"
                try await happen(accident, to: host, for: length, cluster)
                do {
                    try await recover(cluster, clients)
                } catch {
                    let last = clients.record.answers.suffix(12)
                    let seen = last.map { "\($0.app) by \($0.port): \($0.status) \($0.body.prefix(150))" }
                    throw Failure("\(what): \(error); the last answers: \(seen)")
                }
                let record = try await clients.stop()
                var found = record.contradictions()
                for answer in record.answers
                where answer.epoch > 0 && answer.epoch < newest[answer.app] ?? 0 {
                    found.append("\(answer.app): epoch \(answer.epoch) after \(newest[answer.app] ?? 0)")
                }
                for app in ["gated", "third"] { found += record.staleReads(app) }
                #expect(found == [], "\(what)")
                for app in Self.apps {
                    acknowledged[app, default: []].formUnion(record.acknowledged(app))
                    newest[app] = max(newest[app] ?? 0, record.epochs(of: app).max() ?? 0)
                    guard app != "quick" else { continue }
                    let rows = try await cluster.rows(of: app, through: "h1")
                    let lost = acknowledged[app, default: []].subtracting(rows)
                    #expect(lost == [], "\(what): acknowledged and lost")
                }
                print(
                    "\(what): \(record.answers.count) requests, \(record.failures().count) failed, epochs \(newest), "
                        + "\(Figures.milliseconds(.now - begin)) ms"
                )
            }
        }
    }

    private func happen(
        _ accident: Accident,
        to host: String,
        for length: Duration,
        _ cluster: FaultCluster
    ) async throws {
        guard let network = cluster.network else { return }
        let part = try cluster.host(host)
        func cut(from others: [String]) async throws {
            try network.cut(host, from: others)
            try await Task.sleep(for: length)
            try network.heal(host)
        }
        func kill(_ part: Part) async throws {
            await part.kill()
            try await Task.sleep(for: length)
            try part.start()
        }
        func freeze(_ part: Part) async throws {
            part.freeze()
            try await Task.sleep(for: length)
            part.thaw()
        }
        switch accident {
        case .hostKilled: try await kill(part)
        case .hostFrozen: try await freeze(part)
        case .hostStopped:
            await part.stop()
            try await Task.sleep(for: length)
            try part.start()
        case .controlKilled: try await kill(cluster.control)
        case .temporalFrozen: try await freeze(cluster.temporal)
        case .temporalKilled: try await kill(cluster.temporal)
        case .storeFrozen: try await freeze(cluster.store)
        case .storeKilled: try await kill(cluster.store)
        case .cutFromStore: try await cut(from: ["store"])
        case .cutFromTemporal: try await cut(from: ["temporal"])
        case .cutFromBoth: try await cut(from: ["store", "temporal"])
        case .cutFromPeers: try await cut(from: ["h1", "h2", "h3"].filter { $0 != host })
        case .unplugged:
            try network.unplug(host)
            try await Task.sleep(for: length)
            try network.plug(host)
        case .moved: await move(cluster, to: host)
        case .killedWhileMoving:
            async let moving: Void = move(cluster, to: host)
            try await Task.sleep(for: length / 20)
            try await kill(part)
            await moving
        case .deployedWhileKilled:
            async let deploying: Void = deploy(cluster)
            try await Task.sleep(for: length / 20)
            try await kill(cluster.control)
            await deploying
        }
    }

    /// It may be refused, or be there already: what counts is what clients see.
    private func move(_ cluster: FaultCluster, to host: String) async {
        for app in Self.apps { _ = try? await cluster.martlet("move", app, "--to", host) }
    }

    private func deploy(_ cluster: FaultCluster) async { try? await cluster.deploy("gated") }

    /// Waits until all hosts are in the cluster and every app answers a read and a write through every host.
    private func recover(_ cluster: FaultCluster, _ clients: Clients) async throws {
        let healed = ContinuousClock.now
        try await cluster.until("all hosts are online", .seconds(180)) {
            try await cluster.online().count == cluster.hosts.count
        }
        try await cluster.until("every app is read and written through every host", .seconds(120)) {
            let answers = clients.record.answers.filter { $0.status == 200 && $0.begin > healed }
            return cluster.doors.allSatisfy { door in
                Self.apps.allSatisfy { app in
                    answers.contains { $0.app == app && $0.port == door.host && $0.isWrite }
                        && answers.contains { $0.app == app && $0.port == door.host && !$0.isWrite }
                }
            }
        }
    }
}
