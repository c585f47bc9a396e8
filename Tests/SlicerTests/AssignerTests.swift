import Slicer
import Testing

/// Single situations with a known answer.
struct AssignerTests {
    private let assigner = Assigner(policy: .standard)
    private let ample = Budget(apps: 1_000_000, bytes: .max, keyShare: 1)

    @Test func `the first assignment gives every host slices in proportion to its capacity`() throws {
        let hosts = [
            HostStatus(HostID("small"), capacity: 1_000_000, state: .online),
            HostStatus(HostID("large"), capacity: 3_000_000, state: .online),
            HostStatus(HostID("gone"), capacity: 9_000_000, state: .lost),
            HostStatus(HostID("going"), capacity: 9_000_000, state: .draining),
        ]
        let first = try assigner.firstAssignment(hosts: hosts)
        #expect(first.hosts == [HostID("large"), HostID("small")])
        #expect(first.count == 200)
        let share = first.slices(of: HostID("large")).reduce(0) { $0 + $1.share }
        #expect(abs(share - 0.75) < 1e-9)
        #expect(try !round(first, hosts, []).isChange, "it is balanced when nothing is measured")
    }

    @Test func `without a host online there is no first assignment`() {
        let error = #expect(throws: SlicerError.self) {
            try assigner.firstAssignment(hosts: [HostStatus(HostID("a"), capacity: 1, state: .lost)])
        }
        #expect(error?.code == .noHosts)
    }

    @Test func `a new host is filled and the others stay balanced`() throws {
        var hosts = makeHosts(20)
        var assignment = try assigner.firstAssignment(hosts: hosts)
        hosts.append(HostStatus(HostID("new"), capacity: 1_000_000, state: .online))
        for _ in 0..<5 { assignment = try round(assignment, hosts, []).assignment }
        for host in hosts {
            let share = assignment.slices(of: host.id).reduce(0) { $0 + $1.share } * 21
            #expect((0.85...1.1).contains(share), "\(host.id): \(share)")
        }
        #expect(try !round(assignment, hosts, []).isChange)
    }

    @Test func `a key that no move can help is reported, and its host is freed of the rest`() throws {
        let hosts = makeHosts(4)
        var assignment = try assigner.firstAssignment(hosts: hosts)
        let hot = Key(hashing: "hot")
        var cells = (0..<400).map { app("app-\($0)", load: 2000) }
        cells.append(app("hot", load: 900_000))
        var last: Round?
        for _ in 0..<20 {
            let next = try round(assignment, hosts, cells)
            assignment = next.assignment
            last = next
        }
        let settled = try #require(last)
        #expect(!settled.isChange)
        #expect(settled.hotKeys.map(\.key) == [hot])
        #expect(settled.hotKeys.first?.host == assignment.owner(of: hot))
        #expect(settled.hotKeys.first?.load == 900_000)
        #expect(assignment.slice(of: hot).isSingleKey, "it is cut off from its neighbours")
        let loads = try LoadMap(cells)
        for host in hosts {
            let load = assignment.slices(of: host.id).reduce(0) { $0 + loads.weight(of: $1).load }
            if host.id == assignment.owner(of: hot) {
                #expect(load < 930_000)
            } else {
                #expect(load < 310_000, "\(host.id)")
            }
        }
    }

    @Test func `two hot keys on one host are separated and then left alone`() throws {
        let hosts = makeHosts(3)
        let old = try assigner.firstAssignment(hosts: hosts)
        let keys = [Key(hashing: "one"), Key(hashing: "two")]
        let host = hosts[0].id
        var assignment = old.placing(Slice(keys[0]), on: host).placing(Slice(keys[1]), on: host)
        let cells = [app("one", load: 800_000), app("two", load: 700_000), app("three", load: 30_000)]
        for _ in 0..<10 { assignment = try round(assignment, hosts, cells).assignment }
        #expect(assignment.owner(of: keys[0]) != assignment.owner(of: keys[1]))
        let settled = try round(assignment, hosts, cells)
        #expect(!settled.isChange)
        #expect(settled.hotKeys.map(\.key) == keys)
    }

    @Test func `a hot key goes to a host of more capacity`() throws {
        var hosts = makeHosts(3)
        hosts[2].capacity = 8_000_000
        let key = Key(hashing: "hot")
        var assignment = try assigner.firstAssignment(hosts: hosts).placing(Slice(key), on: hosts[0].id)
        for _ in 0..<10 {
            assignment = try round(assignment, hosts, [app("hot", load: 950_000)]).assignment
        }
        #expect(assignment.owner(of: key) == hosts[2].id)
        #expect(try !round(assignment, hosts, [app("hot", load: 950_000)]).isChange)
    }

    @Test func `of two slices with the same load the cheaper one moves`() throws {
        let hosts = makeHosts(2)
        let (a, b) = (hosts[0].id, hosts[1].id)
        let names = ["cheap", "dear"].map { Key(hashing: $0) }
        var assignment = try Assignment(generation: .first, placements: [.init(.whole, on: b)])
        for key in names { assignment = assignment.placing(Slice(key), on: a) }
        let cells = [
            app("cheap", load: 300_000, bytes: 1_000_000), app("dear", load: 300_000, bytes: 2_000_000_000),
            app("three", load: 100_000),
        ]
        let next = try round(assignment, hosts, cells)
        #expect(next.moves.contains { $0.move.slice.contains(names[0]) && $0.move.source == a })
        #expect(!next.moves.contains { $0.move.slice.contains(names[1]) })
    }

    @Test func `an idle cluster is not balanced by noise`() throws {
        let hosts = makeHosts(3)
        let assignment = try assigner.firstAssignment(hosts: hosts)
        let cells = (0..<30).map { app("app-\($0)", load: $0 % 7 == 0 ? 100 : 0) }
        #expect(try round(assignment, hosts, cells).moves.isEmpty)
    }

    @Test func `a coarse hot range is cut finer with every round`() throws {
        let hosts = makeHosts(4)
        let first = try Assignment(generation: .first, placements: [.init(.whole, on: hosts[0].id)])
        var assignment = first
        let cells = [LoadMap.Cell(.whole, Weight(load: 2_000_000, apps: 1000, bytes: 1_000_000_000))]
        for _ in 0..<10 { assignment = try round(assignment, hosts, cells).assignment }
        for host in hosts {
            let share = assignment.slices(of: host.id).reduce(0) { $0 + $1.share } * 4
            #expect((0.85...1.1).contains(share), "\(host.id): \(share)")
        }
    }

    @Test func `too many cold slices are merged, within the bounds of the policy`() throws {
        let hosts = makeHosts(2)
        var placements: [Assignment.Placement] = []
        let step = UInt64.max / 2000
        for number in 0..<2000 as Range<UInt64> {
            let last = number == 1999 ? UInt64.max : (number + 1) * step - 1
            placements.append(try .init(Slice(Key(number * step), Key(last)), on: hosts[Int(number % 2)].id))
        }
        var assignment = try Assignment(generation: .first, placements: placements)
        for _ in 0..<100 { assignment = try round(assignment, hosts, []).assignment }
        #expect((100...300).contains(assignment.count), "\(assignment.count) slices")
        #expect(try !round(assignment, hosts, []).isChange)
    }

    @Test func `an app larger than the budget leaves a draining host alone in a round`() throws {
        var hosts = makeHosts(2)
        var assignment = try assigner.firstAssignment(hosts: hosts)
        let key = Key(hashing: "large")
        assignment = assignment.placing(Slice(key), on: hosts[0].id)
        hosts[0].state = .draining
        let cells = [app("large", load: 10, bytes: 5_000_000_000), app("small", load: 10, bytes: 1000)]
        let budget = Budget(apps: 5, bytes: 1_000_000, keyShare: 0.1)
        var sawLarge = false
        for _ in 0..<100 {
            let next = try assigner.round(
                Situation(assignment: assignment, hosts: hosts, loads: LoadMap(cells), budget: budget)
            )
            if next.moves.contains(where: { $0.move.slice.contains(key) }) {
                sawLarge = true
                #expect(next.moves.count == 1)
            }
            assignment = next.assignment
        }
        #expect(sawLarge)
        #expect(assignment.hosts == [hosts[1].id])
    }

    @Test func `a host that the cluster does not know counts as lost`() throws {
        let hosts = makeHosts(3)
        let assignment = try assigner.firstAssignment(hosts: hosts)
        let next = try round(assignment, Array(hosts.dropLast()), [])
        #expect(next.assignment.hosts == [hosts[0].id, hosts[1].id])
        #expect(next.moves.allSatisfy { $0.cause == .lost })
        #expect(next.hosts.map(\.state) == [.online, .online, .lost])
    }

    @Test func `with all others lost, a draining host takes over`() throws {
        var hosts = makeHosts(2)
        let assignment = try assigner.firstAssignment(hosts: hosts)
        hosts[0].state = .lost
        hosts[1].state = .draining
        let next = try round(assignment, hosts, [])
        #expect(next.assignment.hosts == [hosts[1].id])
        #expect(next.stranded == 0)
    }

    private func makeHosts(_ count: Int) -> [HostStatus] {
        (0..<count).map { HostStatus(HostID("host-\($0 + 100)"), capacity: 1_000_000, state: .online) }
    }

    private func app(_ name: String, load: Int, bytes: Int = 1_000_000) -> LoadMap.Cell {
        LoadMap.Cell(Slice(Key(hashing: name)), Weight(load: load, apps: 1, bytes: bytes))
    }

    private func round(
        _ assignment: Assignment,
        _ hosts: [HostStatus],
        _ cells: [LoadMap.Cell]
    ) throws -> Round {
        try assigner.round(
            Situation(assignment: assignment, hosts: hosts, loads: LoadMap(cells), budget: ample)
        )
    }
}
