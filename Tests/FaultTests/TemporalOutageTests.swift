import Testing

/// Temporal away, in two ways, while apps are used.
@Suite("A cluster without Temporal", .serialized, .timeLimit(.minutes(15)))
struct TemporalOutageTests {
    private static let outage = Duration.seconds(Figures.isSoak ? 60 : 15)

    @Test func `no request fails while Temporal is frozen, or dead and started again`() async throws {
        var options = FaultCluster.Options()
        options.hosts = 2
        try await FaultCluster.with(options) { cluster in
            try await cluster.deploy("awake")
            try await cluster.deploy("sleeper", sleepAfter: "1s")
            try await cluster.place("awake", on: "h1")
            try await cluster.place("sleeper", on: "h2")
            let clients = Clients(on: cluster.client)
            clients.start(
                [
                    Clients.Task(app: "awake", doors: cluster.doors),
                    Clients.Task(app: "awake", doors: cluster.doors, writesEvery: 0),
                    // Asleep before each request.
                    Clients.Task(app: "sleeper", doors: cluster.doors, pause: .seconds(4)),
                ]
            )
            try await Task.sleep(for: .seconds(3))
            cluster.temporal.freeze()
            try await Task.sleep(for: Self.outage)
            cluster.temporal.thaw()
            try await goesOn(cluster, "first")

            await cluster.temporal.kill()
            try await Task.sleep(for: Self.outage)
            try cluster.temporal.start()
            try await goesOn(cluster, "second")

            let record = try await clients.stop()
            let failures = record.failures().map { "\($0.app) through \($0.port): \($0.status) \($0.body)" }
            #expect(failures == [])
            #expect(record.contradictions() == [])
            #expect(record.acknowledged("awake").count > 100)
            #expect(record.acknowledged("sleeper").count > 1)
            for app in ["awake", "sleeper"] {
                #expect(record.staleReads(app) == [])
                let rows = try await cluster.rows(of: app, through: "h1")
                #expect(record.acknowledged(app).subtracting(rows) == [])
            }
            #expect(record.epochs(of: "awake").count == 1, "Nothing changed hands.")
            print(
                "Temporal away twice for \(Self.outage): \(record.answers.count) requests, \(failures.count) failed"
            )
        }
    }

    /// Control works again: hosts are online, and new work is done.
    private func goesOn(_ cluster: FaultCluster, _ app: String) async throws {
        try await cluster.until("a new app is deployed") {
            do {
                try await cluster.deploy(app)
                return true
            } catch is Failure { return false }
        }
        try await cluster.until("all hosts are online") { try await cluster.online().count == 2 }
    }
}
