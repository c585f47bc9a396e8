import Slicer

/// Runs a strategy through the life of a world and measures it.
package struct Comparison {
    /// What happens when, in rounds.
    package struct Schedule: Sendable {
        /// Rounds to find a balance in, under drift, from the first placement.
        package var settling = 20
        /// Rounds of drift alone, which are measured.
        package var steady = 30
        /// Rounds after the loss of hosts.
        package var loss = 10
        /// Rounds after they have come back.
        package var back = 10
        /// The number of hosts that are lost.
        package var lostHosts = 10

        /// The schedule of the published figures.
        package init() {}
    }

    /// What a strategy did in a round.
    package struct Sample: Sendable {
        /// The highest load in proportion to the mean, after the drift and before the round.
        package var maxToMeanBefore: Double
        /// The same after the round.
        package var maxToMean: Double
        /// The part of the load that was on hosts above 1.1 times the mean, beyond that: what has to move at
        /// the least.
        package var excess: Double
        /// The part of the apps that moved.
        package var movedApps: Double
        /// The part of the load that moved.
        package var movedLoad: Double
        /// The part of the bytes that moved.
        package var movedBytes: Double
        /// How long the decision took.
        package var time: Duration
    }

    /// What a strategy did from beginning to end.
    package struct Outcome: Sendable {
        /// What the strategy is called.
        package var name: String
        /// One sample for each round; the first is the first placement.
        package var samples: [Sample]
        /// The size of its table at the end.
        package var tableEntries: Int
    }

    private let options: World.Options
    private let schedule: Schedule

    /// Sets up a comparison; every strategy sees the same world.
    package init(_ options: World.Options, _ schedule: Schedule) {
        self.options = options
        self.schedule = schedule
    }

    /// Runs one strategy.
    ///
    /// - Parameters:
    ///   - make: makes the strategy for the world at its beginning.
    ///   - observe: called after each round with its number and sample.
    /// - Returns: a sample for each round.
    /// - Throws: what the strategy throws.
    package func run(
        _ make: (World) -> any Strategy,
        observe: (Int, Sample, any Strategy) -> Void
    ) throws -> Outcome {
        var world = World(options)
        var strategy = make(world)
        var samples: [Sample] = []
        var owners: [Int32] = []
        let lossRound = schedule.settling + schedule.steady
        let backRound = lossRound + schedule.loss
        for number in 0..<(backRound + schedule.back) {
            if number > 0 { world.advance() }
            if number == lossRound { setState(.lost, &world) }
            if number == backRound { setState(.online, &world) }
            let next = try strategy.place(world)
            if owners.isEmpty { owners = next }
            var sample = moved(from: owners, to: next, world)
            sample.time = strategy.decisionTime
            observe(number, sample, strategy)
            samples.append(sample)
            owners = next
        }
        return Outcome(name: strategy.name, samples: samples, tableEntries: strategy.tableEntries)
    }

    private func setState(_ state: HostState, _ world: inout World) {
        for index in 0..<min(schedule.lostHosts, world.hosts.count - 1) {
            // Spread over the names, so that no run of slices is lost as one.
            world.hosts[index * (world.hosts.count / max(1, schedule.lostHosts))].state = state
        }
    }

    private func balance(_ owners: [Int32], _ world: World) -> (maxToMean: Double, excess: Double) {
        var loads = [Int](repeating: 0, count: world.hosts.count)
        for (app, owner) in owners.enumerated() { loads[Int(owner)] += world.loads[app] }
        let online = world.hosts.indices.filter { world.hosts[$0].state == .online }
        let total = Double(max(1, world.loads.reduce(0, +)))
        let mean = total / Double(online.count)
        let highest = online.reduce(0) { max($0, loads[$1]) }
        let excess = online.reduce(0.0) { $0 + max(0, Double(loads[$1]) - 1.1 * mean) }
        return (Double(highest) / mean, excess / total)
    }

    private func moved(from old: [Int32], to new: [Int32], _ world: World) -> Sample {
        var moved = Weight.zero
        var total = Weight.zero
        for app in new.indices {
            let weight = Weight(load: world.loads[app], apps: 1, bytes: world.bytes[app])
            total += weight
            if old[app] != new[app] { moved += weight }
        }
        let before = balance(old, world)
        return Sample(
            maxToMeanBefore: before.maxToMean,
            maxToMean: balance(new, world).maxToMean,
            excess: before.excess,
            movedApps: Double(moved.apps) / Double(max(1, total.apps)),
            movedLoad: Double(moved.load) / Double(max(1, total.load)),
            movedBytes: Double(moved.bytes) / Double(max(1, total.bytes)),
            time: .zero
        )
    }
}
