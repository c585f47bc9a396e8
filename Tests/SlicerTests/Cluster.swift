import Slicer
import SlicerSimulation

/// A small random cluster for property tests: the same for the same seed.
struct Cluster {
    var hosts: [HostStatus]
    var apps: [LoadMap.Cell]
    var assignment: Assignment
    var budget: Budget
    var generator: SeededGenerator

    /// Hosts of one to four cores and apps whose load follows a power law, on slices that were dealt out at
    /// random.
    init(seed: UInt64, apps appCount: Int? = nil) throws {
        var generator = SeededGenerator(seed: seed)
        let hostCount = Int.random(in: 2...12, using: &generator)
        hosts = (0..<hostCount).map { number in
            let capacity = Int.random(in: 1...4, using: &generator) * 1_000_000
            return HostStatus(HostID("h\(number + 10)"), capacity: capacity, state: .online)
        }
        let count = appCount ?? Int.random(in: 0...3000, using: &generator)
        let salt = UInt64.random(in: 0 ... .max, using: &generator)
        let total =
            Double(hosts.reduce(0) { $0 + $1.capacity }) * Double.random(in: 0.05...0.8, using: &generator)
        let harmonic = (0..<count).reduce(0.0) { $0 + 1 / Double($1 + 10) }
        apps = (0..<count).map { rank in
            LoadMap.Cell(
                Slice(Key(hashing: "\(salt)-\(rank)")),
                Weight(
                    load: Int(total / harmonic / Double(rank + 10)),
                    apps: Int.random(in: 0...1, using: &generator),
                    bytes: Int(1e6 / Double.random(in: 0.001...1, using: &generator))
                )
            )
        }
        var starts: Set<UInt64> = [0]
        for _ in 0..<Int.random(in: 0...300, using: &generator) {
            starts.insert(UInt64.random(in: 0 ... .max, using: &generator))
        }
        let ordered = starts.sorted()
        let names = hosts.map(\.id)
        assignment = try Assignment(
            generation: .first,
            placements: ordered.indices.map { index in
                let last = index + 1 < ordered.count ? ordered[index + 1] - 1 : .max
                let host = names.randomElement(using: &generator) ?? names[0]
                return try .init(Slice(Key(ordered[index]), Key(last)), on: host)
            }
        )
        budget = Budget(
            apps: Int.random(in: 1...200, using: &generator),
            bytes: Int.random(in: 1_000_000...1_000_000_000, using: &generator),
            keyShare: Double.random(in: 0.001...0.2, using: &generator)
        )
        self.generator = generator
    }

    func situation(pinned: [Slice] = [], inTransit: [Slice] = []) throws -> Situation {
        try Situation(
            assignment: assignment,
            hosts: hosts,
            loads: LoadMap(apps),
            budget: budget,
            pinned: pinned,
            inTransit: inTransit
        )
    }

    mutating func setStates(_ states: [HostState]) {
        for index in hosts.indices {
            hosts[index].state = states.randomElement(using: &generator) ?? .online
        }
    }

    /// Runs rounds until nothing changes.
    ///
    /// Returns the number of rounds, or nil if there is no end.
    mutating func settle(
        _ assigner: Assigner,
        atMost limit: Int,
        check: (Round, Cluster) throws -> Void = { _, _ in }
    ) throws -> Int? {
        for count in 0..<limit {
            let round = try assigner.round(situation())
            try check(round, self)
            assignment = round.assignment
            if !round.isChange { return count }
        }
        return nil
    }

    /// The load of each online host in proportion to its capacity.
    func levels() throws -> [Double] {
        let loads = try LoadMap(apps)
        return hosts.filter { $0.state == .online }.map { host in
            let load = assignment.slices(of: host.id).reduce(0) { $0 + loads.weight(of: $1).load }
            return Double(load) / Double(host.capacity)
        }
    }
}
