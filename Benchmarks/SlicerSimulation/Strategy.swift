package import Slicer

/// A way to place apps on hosts, to be compared.
package protocol Strategy {
    /// What it is called in the report.
    var name: String { get }
    /// How many entries a table has that tells every host where every app is.
    var tableEntries: Int { get }
    /// How long the last round took to decide, without measuring the load.
    var decisionTime: Duration { get }

    /// Places all apps, given the loads of this moment.
    ///
    /// - Returns: for each app, in the order of the world's keys, the number of its host.
    mutating func place(_ world: World) throws -> [Int32]
}

/// The project's Slicer.
package struct SlicerStrategy: Strategy {
    package let name: String
    package private(set) var decisionTime = Duration.zero
    /// What the last round decided.
    package private(set) var lastRound: Round?

    private let assigner: Assigner
    private let budgetShare: Double
    private let isSummarised: Bool
    private var assignment: Assignment?

    /// Makes it.
    ///
    /// - Parameters:
    ///   - policy: what the assigner strives for.
    ///   - budgetShare: the part of everything that may move in a round.
    ///   - isSummarised: whether the hosts report hot keys and quarters of slices, and not every app.
    package init(policy: Policy, budgetShare: Double, isSummarised: Bool) {
        name = isSummarised ? "Slicer, summarised loads" : "Slicer"
        assigner = Assigner(policy: policy)
        self.budgetShare = budgetShare
        self.isSummarised = isSummarised
    }

    package var tableEntries: Int { assignment?.count ?? 0 }

    package mutating func place(_ world: World) throws -> [Int32] {
        guard let current = assignment else {
            // Nothing has been measured yet.
            let first = try assigner.firstAssignment(hosts: world.hosts)
            assignment = first
            return SlicerStrategy.owners(first, world)
        }
        var loads = try world.loadMap()
        if isSummarised {
            let hot = World.hostCapacity / 2 / 100
            loads = loads.summary(along: current.placements.map(\.slice), parts: 4, hot: hot)
        }
        let situation = Situation(
            assignment: current,
            hosts: world.hosts,
            loads: loads,
            budget: .share(budgetShare, of: loads.total, floor: Weight(load: 0, apps: 1, bytes: 1))
        )
        let start = ContinuousClock.now
        let round = assigner.round(situation)
        decisionTime = .now - start
        lastRound = round
        assignment = round.assignment
        return SlicerStrategy.owners(round.assignment, world)
    }

    private static func owners(_ assignment: Assignment, _ world: World) -> [Int32] {
        var numbers: [HostID: Int32] = [:]
        for (number, host) in world.hosts.enumerated() { numbers[host.id] = Int32(number) }
        let table = assignment.hosts.map { numbers[$0] ?? 0 }
        var result: [Int32] = []
        result.reserveCapacity(world.keys.count)
        var index = 0
        for key in world.keys {
            while index + 1 < assignment.count, assignment.starts[index + 1] <= key { index += 1 }
            result.append(table[assignment.owners[index]])
        }
        return result
    }
}
