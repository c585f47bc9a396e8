import Slicer
import SlicerSimulation
import Testing

struct LoadMapTests {
    @Test func `a range that is cut weighs in proportion to its keys`() throws {
        let map = try LoadMap([.init(Slice(Key(100), Key(199)), Weight(load: 1000, apps: 10, bytes: 500))])
        #expect(try map.weight(of: Slice(Key(100), Key(149))) == Weight(load: 500, apps: 5, bytes: 250))
        #expect(try map.weight(of: Slice(Key(0), Key(99))) == .zero)
        #expect(try map.weight(of: Slice(Key(190), Key(.max))) == Weight(load: 100, apps: 1, bytes: 50))
        #expect(map.weight(of: .whole) == map.total)
    }

    @Test func `a range over the whole space can be cut`() throws {
        let map = try LoadMap([.init(.whole, Weight(load: 1 << 20, apps: 4, bytes: 0))])
        #expect(try map.weight(of: Slice(Key(0), Key(.max / 4))) == Weight(load: 1 << 18, apps: 1, bytes: 0))
    }

    @Test(arguments: 0..<100)
    func `the weights of the parts add up to the weight of the whole`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let cells = try (0..<Int.random(in: 1...40, using: &generator)).map { _ in
            let first = UInt64.random(in: 0..<1000, using: &generator)
            let last = first + (Bool.random(using: &generator) ? 0 : .random(in: 0..<300, using: &generator))
            return try LoadMap.Cell(
                Slice(Key(first), Key(last)),
                Weight(
                    load: .random(in: 0..<1000, using: &generator),
                    apps: .random(in: 0..<5, using: &generator),
                    bytes: .random(in: 0..<100_000, using: &generator)
                )
            )
        }
        let map = try LoadMap(cells)
        #expect(map.total == cells.reduce(.zero) { $0 + $1.weight }, "seed \(seed)")
        for (lower, upper) in zip(map.cells, map.cells.dropFirst()) {
            #expect(lower.slice.last < upper.slice.first, "seed \(seed)")
        }
        let cuts = Set((0..<7).map { _ in UInt64.random(in: 1..<1400, using: &generator) }).sorted()
        var sum = Weight.zero
        var first: UInt64 = 0
        for cut in cuts {
            sum += try map.weight(of: Slice(Key(first), Key(cut - 1)))
            first = cut
        }
        sum += try map.weight(of: Slice(Key(first), Key(.max)))
        #expect(sum == map.total, "seed \(seed)")
        #expect(
            try LoadMap(cells.shuffled(using: &generator)) == map,
            "the order must not matter: seed \(seed)"
        )
    }

    @Test func `overlapping measurements are added up where they overlap`() throws {
        let map = try LoadMap([
            .init(Slice(Key(0), Key(99)), Weight(load: 100, apps: 0, bytes: 0)),
            .init(Slice(Key(50), Key(149)), Weight(load: 200, apps: 0, bytes: 0)),
            .init(Slice(Key(60)), Weight(load: 7, apps: 1, bytes: 0)),
            .init(Slice(Key(60)), Weight(load: 7, apps: 1, bytes: 0)),
        ])
        #expect(try map.weight(of: Slice(Key(0), Key(49))).load == 50)
        #expect(try map.weight(of: Slice(Key(50), Key(99))).load == 50 + 100 + 14)
        #expect(map.weight(of: Slice(Key(60))).load == 1 + 2 + 14)
        #expect(try map.weight(of: Slice(Key(100), Key(200))).load == 100)
    }

    @Test(arguments: [
        Weight(load: -1, apps: 0, bytes: 0), Weight(load: 0, apps: -1, bytes: 0),
        Weight(load: 0, apps: 0, bytes: -1), Weight(load: .max, apps: 0, bytes: 0),
    ])
    func `loads that cannot be are refused`(weight: Weight) {
        let error = #expect(throws: SlicerError.self) { try LoadMap([.init(.whole, weight)]) }
        #expect(error?.code == .invalidLoad)
    }

    @Test(arguments: 0..<50)
    func `a summary keeps the weight of every slice and every hot key`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let keys = Set((0..<500).map { _ in UInt64.random(in: 0 ... .max, using: &generator) }).sorted()
        let map = try LoadMap(
            keys.map { key in
                let isHot = Int.random(in: 0..<50, using: &generator) == 0
                return .init(Slice(Key(key)), Weight(load: isHot ? 1000 : 3, apps: 1, bytes: 10))
            }
        )
        let hosts = [HostStatus(HostID("a"), capacity: 1, state: .online)]
        var policy = Policy.standard
        policy.slicesPerHost = 20
        let slices = try Assigner(policy: policy).firstAssignment(hosts: hosts).placements.map(\.slice)
        let summary = map.summary(along: slices, parts: 4, hot: 1000)
        #expect(summary.total == map.total, "seed \(seed)")
        #expect(summary.cells.count < map.cells.count / 2)
        for slice in slices { #expect(summary.weight(of: slice) == map.weight(of: slice), "seed \(seed)") }
        for cell in map.cells where cell.weight.load == 1000 { #expect(summary.cells.contains(cell)) }
        #expect(try LoadMap(summary.cells) == summary, "its cells are disjoint and in order")
        #expect(map.summary(along: [.whole], parts: 1, hot: .max).cells.count == 1)
    }
}
