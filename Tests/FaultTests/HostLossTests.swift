import Foundation
import Testing

/// A host that dies at once, with everything of it.
@Suite("The loss of a host", .serialized, .timeLimit(.minutes(20)))
struct HostLossTests {
    @Test
    func
        `apps of a killed host are served by others with every acknowledged row, and it comes back without them`()
        async throws
    {
        try await FaultCluster.with { cluster in
            for app in ["one", "two", "other"] { try await cluster.deploy(app) }
            try await cluster.deploy("asleep", sleepAfter: "1s")
            try await cluster.place("other", on: "h3")
            let rounds = Figures.isSoak ? 8 : 1
            var (served, turns) = ([Duration](), [Duration]())
            for round in 1...rounds {
                let victim = round % 2 == 1 ? "h1" : "h2"
                for app in ["one", "two", "asleep"] { try await cluster.place(app, on: victim) }
                let loss = try await lose(victim, of: cluster)
                served += loss.served
                turns += loss.turns
            }
            Figures.print("from kill -9 of a host to the first answer of another", served)
            Figures.print("from an app's turn to its end", turns)
        }
    }

    private func lose(
        _ victim: String,
        of cluster: FaultCluster
    ) async throws -> (served: [Duration], turns: [Duration]) {
        let lost = ["one", "two", "asleep"]
        let survivors = cluster.doors.filter { $0.host != victim }
        let clients = Clients(on: cluster.client)
        var tasks = ["one", "two"].flatMap { app in
            [Clients.Task(app: app, doors: cluster.doors), Clients.Task(app: app, doors: survivors)]
        }
        tasks.append(Clients.Task(app: "other", doors: survivors))
        clients.start(tasks)
        try await cluster.until("the apps are written to") {
            ["one", "two", "other"].allSatisfy { clients.record.acknowledged($0).count > 20 }
        }
        let before = clients.record
        let epochs = Dictionary(
            uniqueKeysWithValues: ["one", "two"].map { app in
                (app, before.answers.filter { $0.app == app }.map(\.epoch).max() ?? 0)
            }
        )
        let processes = Set(try cluster.processes(of: victim))
        let killed = ContinuousClock.now
        await (try cluster.host(victim)).kill()
        var served: [Duration] = []
        for app in ["one", "two"] {
            try await cluster.until("\(app) is served by another host") {
                clients.record.firstAnswer(app, after: epochs[app] ?? 0) != nil
            }
            if let first = clients.record.firstAnswer(app, after: epochs[app] ?? 0) {
                served.append(first.end - killed)
            }
        }
        #expect(try await cluster.owner(of: "asleep") != victim)
        var turns: [Duration] = []
        for app in lost { turns += try await turn(of: app, in: cluster) }

        // It comes back as if nothing had been, and knows that others have its apps.
        try cluster.host(victim).start()
        try await cluster.until("\(victim) is online again") { try await cluster.online().contains(victim) }
        // Workers that were frozen when their host was killed end when it is started again.
        try await cluster.until("nothing of the earlier process is left") {
            processes.isDisjoint(with: try cluster.processes(of: victim))
        }
        for app in lost {
            let answer = await clients.send("GET", "/", app: app, to: try cluster.door(victim))
            #expect(answer.status == 200, "\(app): \(answer.body)")
            // Unless the Slicer has already given it one back, under an epoch after that of the failover.
            let failover = (epochs[app] ?? 1) + 1
            #expect(answer.host != victim || answer.epoch > failover, "\(app): \(answer)")
        }
        let record = try await clients.stop()
        #expect(record.contradictions() == [])
        for app in ["one", "two"] {
            #expect(record.staleReads(app) == [])
            let missing = record.acknowledged(app).subtracting(try await cluster.rows(of: app, through: "h3"))
            #expect(missing == [], "\(app): acknowledged and lost")
        }
        // Through the dead host nothing is answered; through the others a request waits, or is told when to try again.
        let refused = record.failures().filter { $0.port != victim && $0.status != 503 && $0.status != 502 }
        #expect(refused.map { "\($0.app) through \($0.port): \($0.status) \($0.body)" } == [])
        #expect(record.failures(of: "other").map(\.body) == [], "An app on another host notices nothing.")
        return (served, turns)
    }

    /// How long the app's last failover took, from when it was its turn.
    private func turn(of app: String, in cluster: FaultCluster) async throws -> [Duration] {
        let format = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        let failover = try await cluster.operations(of: app).filter { $0["kind"] as? String == "failover" }
            .max { ($0["startedAt"] as? String ?? "") < ($1["startedAt"] as? String ?? "") }
        #expect(failover?["state"] as? String == "done", "\(app): \(failover ?? [:])")
        guard let begin = failover?["startedAt"] as? String, let end = failover?["finishedAt"] as? String
        else { return [] }
        func date(_ text: String) throws -> Date {
            try (try? format.parse(text)) ?? Date.ISO8601FormatStyle().parse(text)
        }
        return [.milliseconds(Int(try date(end).timeIntervalSince(try date(begin)) * 1000))]
    }
}
