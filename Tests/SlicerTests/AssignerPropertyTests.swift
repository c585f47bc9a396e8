import Foundation
import Slicer
import SlicerSimulation
import Testing

/// The random clusters to try; with MARTLET_SOAK=1 they are many more.
private let seeds: Range<UInt64> =
    ProcessInfo.processInfo.environment["MARTLET_SOAK"] == "1" ? 0..<1000 : 0..<40

/// What holds for every cluster.
///
/// The argument of each test is the seed of its cluster.
struct AssignerPropertyTests {
    private let assigner = Assigner(policy: .standard)

    @Test(arguments: seeds)
    func `a round keeps to its budget and leaves no gap, whatever happens to the hosts`(seed: UInt64) throws {
        var cluster = try Cluster(seed: seed)
        for _ in 0..<12 {
            cluster.setStates([.online, .online, .online, .draining, .lost])
            let round = try assigner.round(cluster.situation())
            try checkWhole(round, cluster)
            try checkBudget(round, cluster)
            #expect(round.isChange == (round.assignment != cluster.assignment))
            #expect(
                round.assignment.generation
                    == (round.isChange ? cluster.assignment.generation.next : cluster.assignment.generation)
            )
            cluster.assignment = round.assignment
        }
    }

    @Test(arguments: seeds)
    func `a lost host ends with nothing in one round`(seed: UInt64) throws {
        var cluster = try Cluster(seed: seed)
        cluster.setStates([.online, .lost, .draining])
        let round = try assigner.round(cluster.situation())
        let lost = cluster.hosts.filter { $0.state == .lost }.map(\.id)
        if lost.count == cluster.hosts.count {
            #expect(round.stranded == cluster.assignment.count)
            #expect(round.moves.isEmpty)
        } else {
            #expect(round.stranded == 0)
            #expect(Set(round.assignment.hosts).isDisjoint(with: lost))
        }
    }

    @Test(arguments: seeds)
    func `a draining host ends with nothing, within the budget of each round`(seed: UInt64) throws {
        var cluster = try Cluster(seed: seed)
        cluster.hosts[0].state = .draining
        cluster.hosts[cluster.hosts.count / 2].state = .draining
        guard cluster.hosts.contains(where: { $0.state == .online }) else { return }
        let draining = cluster.hosts.filter { $0.state == .draining }.map(\.id)
        let rounds = try cluster.settle(assigner, atMost: 5000) { try checkBudget($0, $1) }
        #expect(rounds != nil)
        #expect(Set(cluster.assignment.hosts).isDisjoint(with: draining))
        let last = try assigner.round(cluster.situation())
        #expect(last.waiting == 0)
    }

    @Test(arguments: seeds)
    func `rounds converge under a steady load and then stay still`(seed: UInt64) throws {
        var cluster = try Cluster(seed: seed)
        let rounds = try cluster.settle(assigner, atMost: 5000)
        #expect(rounds != nil, "it never stands still")
        for _ in 0..<3 { #expect(try !assigner.round(cluster.situation()).isChange) }
    }

    @Test(arguments: seeds)
    func `a cluster with enough to do is balanced to 1.1 in the end`(seed: UInt64) throws {
        // With so many apps and ranks from 10 on, no app is more than a few percent of the load.
        var cluster = try Cluster(seed: seed, apps: 3000)
        _ = try cluster.settle(assigner, atMost: 5000)
        let round = try assigner.round(cluster.situation())
        let total = cluster.apps.reduce(0) { $0 + $1.weight.load }
        let capacity = cluster.hosts.reduce(0) { $0 + $1.capacity }
        // On a cluster that does almost nothing, the load is not worth moves.
        guard Double(total) > 0.2 * Double(capacity), round.hotKeys.isEmpty else { return }
        let fair = Double(total) / Double(capacity)
        let highest = try cluster.levels().max() ?? 0
        #expect(highest / fair <= 1.1)
        #expect(abs(round.maxToMeanAfter - highest / fair) < 1e-9)
    }

    @Test(arguments: seeds)
    func `the same situation leads to the same round, in whatever order it is told`(seed: UInt64) throws {
        var cluster = try Cluster(seed: seed)
        cluster.setStates([.online, .online, .draining, .lost])
        let round = try assigner.round(cluster.situation())
        #expect(try assigner.round(cluster.situation()) == round)
        cluster.hosts.shuffle(using: &cluster.generator)
        cluster.apps.shuffle(using: &cluster.generator)
        #expect(try assigner.round(cluster.situation()) == round)
    }

    @Test(arguments: seeds)
    func `what is in transit is left alone, and what is pinned leaves only a draining host`(
        seed: UInt64
    ) throws {
        var cluster = try Cluster(seed: seed)
        let pinned = (0..<5).map { _ in
            cluster.assignment.slice(of: Key(.random(in: 0 ... .max, using: &cluster.generator)))
        }
        let inTransit = (0..<5).map { _ in
            cluster.assignment.slice(of: Key(.random(in: 0 ... .max, using: &cluster.generator)))
        }
        cluster.setStates([.online, .online, .draining])
        var states: [HostID: HostState] = [:]
        for host in cluster.hosts { states[host.id] = host.state }
        for _ in 0..<5 {
            let round = try assigner.round(cluster.situation(pinned: pinned, inTransit: inTransit))
            for slice in inTransit {
                #expect(round.assignment.slice(of: slice.first) == slice)
                #expect(!round.moves.contains { $0.move.slice.overlaps(slice) })
            }
            for slice in pinned where !inTransit.contains(slice) {
                for move in round.moves where move.move.slice.overlaps(slice) {
                    #expect(states[move.move.source] == .draining)
                }
            }
            cluster.assignment = round.assignment
        }
    }

    @Test(arguments: seeds)
    func `a budget of nothing moves nothing but what is lost`(seed: UInt64) throws {
        var cluster = try Cluster(seed: seed)
        cluster.budget = Budget(apps: 0, bytes: 0, keyShare: 0)
        cluster.hosts[0].state = .lost
        cluster.hosts[1].state = .draining
        let round = try assigner.round(cluster.situation())
        #expect(round.moves.allSatisfy { $0.cause == .lost })
    }

    private func checkWhole(_ round: Round, _ cluster: Cluster) throws {
        // The checking initializer finds gaps, overlaps and hosts without a slice.
        _ = try Assignment(
            generation: round.assignment.generation,
            hosts: round.assignment.hosts,
            starts: round.assignment.starts,
            owners: round.assignment.owners
        )
        #expect(round.moves.map(\.move) == round.assignment.moves(from: cluster.assignment))
        let sum = round.hosts.reduce(Weight.zero) { $0 + $1.weight }
        #expect(sum == cluster.apps.reduce(.zero) { $0 + $1.weight })
        #expect(round.hosts.reduce(0) { $0 + $1.slices } == round.assignment.count)
        #expect(
            round.assignment.count == cluster.assignment.count + round.splits - round.merges
        )
    }

    private func checkBudget(_ round: Round, _ cluster: Cluster) throws {
        let planned = round.moves.filter { $0.cause != .lost }
        let weight = planned.reduce(Weight.zero) { $0 + $1.weight }
        let share = planned.reduce(0) { $0 + $1.move.slice.share }
        let isWithin =
            weight.apps <= cluster.budget.apps && weight.bytes <= cluster.budget.bytes
            && share <= cluster.budget.keyShare + 1e-9
        let isOneApp = planned.count == 1 && planned.allSatisfy(\.move.slice.isSingleKey)
        #expect(isWithin || isOneApp, "\(planned.count) moves, \(weight), share \(share)")
    }
}
