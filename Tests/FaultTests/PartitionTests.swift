import Testing

/// A host that is cut off from some of the others, while clients reach it and each other host.
///
/// Three hosts, each in a network namespace like everything else; `gated` and `quick` (whose answers wait for no replica) are on h1,
/// `other` is on h2.
@Suite(
    "A cluster in pieces",
    .serialized,
    .timeLimit(.minutes(20)),
    .enabled(if: TestNetwork.obstacle == nil, "\(TestNetwork.obstacle ?? "")")
)
struct PartitionTests {
    @Test
    func
        `a host cut off from store and Temporal stops in time, and serves nothing when Temporal alone comes back`()
        async throws
    {
        try await withCluster { cluster, network, clients, epochs in
            try network.cut("h1", from: ["store", "temporal"])
            try await cluster.until("other hosts serve the apps of h1") {
                ["gated", "quick"].allSatisfy {
                    clients.record.firstAnswer($0, after: epochs[$0] ?? 0) != nil
                }
            }
            // The host can give signs of life again, and still believes in a lease that was revoked.
            try network.heal("h1")
            try network.cut("h1", from: ["store"])
            try await Task.sleep(for: .seconds(Figures.isSoak ? 40 : 15))
            #expect(clients.record.contradictions() == [])
            try network.heal("h1")
            try await comeBack(cluster, clients, epochs)
            let record = try await clients.stop()
            try await judge(record, cluster, mayFail: ["gated", "quick"])
        }
    }

    @Test(.enabled(if: Figures.isSoak))
    func `a host cut off from Temporal alone goes on, and its apps stay`() async throws {
        try await withCluster { cluster, network, clients, epochs in
            try network.cut("h1", from: ["temporal"])
            try await Task.sleep(for: .seconds(30))
            try network.heal("h1")
            try await cluster.until("h1 is online") { try await cluster.online().contains("h1") }
            _ = try await cluster.martlet("move", "gated", "--to", "h3")
            let record = try await clients.stop()
            try await judge(record, cluster, mayFail: [])
            #expect(record.epochs(of: "quick").count == 1)
        }
    }

    @Test(.enabled(if: Figures.isSoak))
    func `a host cut off from the store alone acknowledges nothing that is not kept, and its apps stay`()
        async throws
    {
        try await withCluster { cluster, network, clients, epochs in
            try network.cut("h1", from: ["store"])
            try await Task.sleep(for: .seconds(30))
            try network.heal("h1")
            let healed = ContinuousClock.now
            try await cluster.until("writes are acknowledged again") {
                clients.record.answers.contains {
                    $0.app == "gated" && $0.isWrite && $0.status == 200 && $0.begin > healed
                }
            }
            let record = try await clients.stop()
            try await judge(record, cluster, mayFail: ["gated"])
            #expect(record.epochs(of: "quick").count == 1)
            #expect(record.epochs(of: "gated").count == 1)
        }
    }

    @Test(.enabled(if: Figures.isSoak))
    func `a host cut off from its peers serves its own clients, and its apps stay`() async throws {
        try await withCluster { cluster, network, clients, epochs in
            try network.cut("h1", from: ["h2", "h3"])
            try await Task.sleep(for: .seconds(30))
            let cutOff = clients.record
            try network.heal("h1")
            let healed = ContinuousClock.now
            try await cluster.until("h2 answers for the apps of h1 again") {
                clients.record.answers.contains {
                    $0.app == "gated" && $0.port == "h2" && $0.status == 200 && $0.begin > healed
                }
            }
            let record = try await clients.stop()
            // What has to cross the cut fails; what does not goes on. A request that was on its way across when it was cut
            // is answered too, although both hosts live and neither end is told.
            let across = record.failures().filter { ($0.port == "h1") == ($0.app == "other") }
            #expect(record.failures().count == across.count)
            #expect(Set(across.map(\.status)).isSubset(of: [502, 503]), "\(Set(across.map(\.status)))")
            #expect(cutOff.acknowledged("other").count > 50)
            try await judge(record, cluster, mayFail: ["gated", "quick", "other"])
            #expect(record.epochs(of: "gated").count == 1)
        }
    }

    @Test(.enabled(if: Figures.isSoak))
    func `a host whose cable is out is replaced, and comes back without its apps`() async throws {
        try await withCluster { cluster, network, clients, epochs in
            try network.unplug("h1")
            let since = ContinuousClock.now
            try await cluster.until("other hosts serve the apps of h1") {
                ["gated", "quick"].allSatisfy {
                    clients.record.firstAnswer($0, after: epochs[$0] ?? 0) != nil
                }
            }
            let served = ["gated", "quick"].compactMap {
                clients.record.firstAnswer($0, after: epochs[$0] ?? 0)?.end
            }
            Figures.print("from a cable out to the first answer of another host", served.map { $0 - since })
            try network.plug("h1")
            try await comeBack(cluster, clients, epochs)
            let record = try await clients.stop()
            try await judge(record, cluster, mayFail: ["gated", "quick", "other"])
        }
    }

    // MARK: - Parts

    private func withCluster(
        _ body: (FaultCluster, TestNetwork, Clients, _ epochs: [String: Int]) async throws -> Void
    ) async throws {
        var options = FaultCluster.Options()
        options.isOnNetwork = true
        try await FaultCluster.with(options) { cluster in
            guard let network = cluster.network else { throw Failure("no network") }
            try await cluster.deploy("gated")
            try await cluster.deploy("quick", durability: "async")
            try await cluster.deploy("other")
            let clients = Clients(on: cluster.client)
            for (app, host) in [("gated", "h1"), ("quick", "h1"), ("other", "h2")] {
                try await cluster.place(app, on: host)
            }
            clients.start(
                cluster.doors.flatMap { door in
                    ["gated", "quick", "other"].map { app in
                        Clients.Task(app: app, doors: [door], patience: .seconds(40))
                    }
                }
            )
            try await cluster.until("the apps are written to through every host") {
                let answers = clients.record.answers
                return cluster.doors.allSatisfy { door in
                    ["gated", "quick", "other"].allSatisfy { app in
                        answers.contains { $0.app == app && $0.port == door.host && $0.status == 200 }
                    }
                }
            }
            let answers = clients.record.answers
            let epochs = Dictionary(answers.map { ($0.app, $0.epoch) }) { max($0, $1) }
            try await body(cluster, network, clients, epochs)
        }
    }

    /// Waits until h1 is a host of the cluster again, which knows that its apps are elsewhere.
    private func comeBack(_ cluster: FaultCluster, _ clients: Clients, _ epochs: [String: Int]) async throws {
        try await cluster.until("h1 is online again") { try await cluster.online().contains("h1") }
        for app in ["gated", "quick"] {
            try await cluster.until("h1 sends requests for \(app) on") {
                let answer = await clients.send("GET", "/", app: app, to: try cluster.door("h1"))
                // Unless the Slicer has given it back meanwhile, under an epoch after that of the failover.
                let failover = (epochs[app] ?? 1) + 1
                return answer.status == 200 && (answer.host != "h1" || answer.epoch > failover)
            }
        }
    }

    private func judge(_ record: AnswerRecord, _ cluster: FaultCluster, mayFail: Set<String>) async throws {
        #expect(record.contradictions() == [])
        let failures = record.failures().filter { !mayFail.contains($0.app) }
        #expect(failures.map { "\($0.app) through \($0.port): \($0.status) \($0.body)" } == [])
        for app in ["gated", "other"] {
            #expect(record.staleReads(app) == [])
            let rows = try await cluster.rows(of: app, through: "h2")
            #expect(record.acknowledged(app).subtracting(rows) == [], "\(app): acknowledged and lost")
        }
        print("\(record.answers.count) requests, \(record.failures().count) failed")
    }
}
