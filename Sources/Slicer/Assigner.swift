/// Decides which host owns which slice, round by round.
///
/// A round goes through these steps; every one but the first keeps to the budget:
///
///     lost hosts' slices ─► hot slices are split ─► draining hosts' slices ─► cold neighbours are merged
///                                                                                        │
///          assignment ◄─ starved hosts are filled ◄─ hot hosts give to cold ones ◄───────┘
///
/// It is the weighted-move algorithm of Slicer (Adya et al., "Slicer: Auto-Sharding for Datacenter
/// Applications", OSDI 2016, section 4.4.1) with three differences: a move is weighed by what it costs
/// (apps interrupted, bytes copied) and not by its part of the hash space; splits come before the moves, so
/// that the moves of the same round have small slices to choose from; and only hosts that are outside a
/// band around the fair load are touched, so that a balanced cluster stays as it is.
///
/// It is a pure function: no clock, no randomness, no unordered walk, whole numbers for all sums.
package struct Assigner: Hashable, Sendable {
    /// What it strives for.
    package let policy: Policy

    /// Makes an assigner for one policy.
    package init(policy: Policy) {
        self.policy = policy
    }

    /// The first assignment of a cluster: every online host owns one run of slices in proportion to its
    /// capacity, the hosts in ascending order.
    ///
    /// - Throws: `SlicerError` with code `.noHosts` if none is online.
    package func firstAssignment(hosts: [HostStatus]) throws(SlicerError) -> Assignment {
        let online = hosts.filter { $0.state == .online }.sorted { $0.id < $1.id }
        guard !online.isEmpty else {
            throw SlicerError(
                .noHosts,
                "make the first assignment: none of \(hosts.count) hosts is online; start a host and try again"
            )
        }
        let capacities = online.map { Double(max(1, $0.capacity)) }
        let total = capacities.reduce(0, +)
        let average = total / Double(online.count)
        var placements: [Assignment.Placement] = []
        var start: UInt64 = 0
        var sum = 0.0
        for (index, host) in online.enumerated() {
            // Slices of about equal size: a larger host has more of them.
            let share = capacities[index] / average
            let count = max(1, Int((share * Double(policy.slicesPerHost)).rounded()))
            for number in 1...count {
                let end = sum + capacities[index] * Double(number) / Double(count)
                let isLast = index == online.count - 1 && number == count
                let position = min(end / total, 1) * 0x1p64
                let next = position < 0x1p64 ? UInt64(position) : .max
                guard isLast || (next > start && next < .max) else { continue }
                let last = isLast ? UInt64.max : next - 1
                placements.append(.init(Slice(uncheckedFirst: start, last: last), on: host.id))
                start = next
            }
            sum += capacities[index]
        }
        return try Assignment(generation: .first, placements: placements)
    }

    /// One round: what to do about the situation within its budget.
    package func round(_ situation: Situation) -> Round {
        var draft = Draft(situation, policy: policy)
        let before = draft.maxToMean()
        var meter = BudgetMeter(situation.budget)
        let stranded = rescue(&draft)
        let splits = split(&draft, budget: situation.budget)
        drain(&draft, &meter)
        let giants = findGiants(&draft)
        let fair = fairLevel(draft, giants: giants)
        let merges = merge(&draft, &meter, fair: fair, budget: situation.budget)
        let placed = separate(&draft, &meter, giants: giants, fair: fair)
        cool(&draft, &meter, fair: fair)
        fill(&draft, &meter, fair: fair)
        return report(
            draft,
            on: situation,
            counts: (splits, merges, stranded),
            maxToMeanBefore: before,
            giants: placed,
            fair: fair
        )
    }

    private func report(
        _ draft: Draft,
        on situation: Situation,
        counts: (splits: Int, merges: Int, stranded: Int),
        maxToMeanBefore: Double,
        giants: [Giant],
        fair: Double
    ) -> Round {
        let earlier = situation.assignment
        let table = Assignment.table(draft.pieces.map { draft.hosts[$0.owner].id })
        let same = Assignment(
            uncheckedGeneration: earlier.generation,
            hosts: table.hosts,
            starts: draft.pieces.map(\.first),
            owners: table.owners
        )
        let isChange = same != earlier
        let assignment = isChange ? same.renumbered(earlier.generation.next) : earlier
        var states: [HostID: HostState] = [:]
        for host in draft.hosts { states[host.id] = host.state }
        let moves = assignment.moves(from: earlier).map { move in
            Round.Move(
                move: move,
                cause: cause(of: states[move.source] ?? .lost),
                weight: draft.loads.weight(of: move.slice)
            )
        }
        var weights = [Weight](repeating: .zero, count: draft.hosts.count)
        var slices = [Int](repeating: 0, count: draft.hosts.count)
        for piece in draft.pieces {
            weights[piece.owner] += piece.weight
            slices[piece.owner] += 1
        }
        let hosts = draft.hosts.indices.map { index in
            Round.HostLoad(
                host: draft.hosts[index].id,
                state: draft.hosts[index].state,
                weight: weights[index],
                slices: slices[index]
            )
        }
        return Round(
            assignment: assignment,
            moves: moves,
            hotKeys: giants.map { giant in
                let host = draft.hosts[giant.owner]
                return Round.HotKey(
                    key: Key(giant.key),
                    host: host.id,
                    load: giant.load,
                    ratio: Double(giant.load) / (host.capacity * fair)
                )
            },
            hosts: hosts,
            splits: counts.splits,
            merges: counts.merges,
            maxToMeanBefore: maxToMeanBefore,
            maxToMeanAfter: draft.maxToMean(),
            stranded: counts.stranded,
            waiting: hosts.reduce(0) { $1.state == .draining ? $0 + $1.slices : $0 },
            isChange: isChange
        )
    }

    private func cause(of state: HostState) -> Round.Cause {
        switch state {
        case .lost: .lost
        case .draining: .draining
        case .online: .balance
        }
    }
}
