import Slicer
import SlicerSimulation
import Testing

struct AssignmentTests {
    private let a = HostID("a")
    private let b = HostID("b")

    @Test func `every key has the owner of its slice`() throws {
        let assignment = try Assignment(
            generation: .first,
            hosts: [a, b],
            starts: [0, 100, 200],
            owners: [0, 1, 0]
        )
        for (key, owner) in [(0, a), (99, a), (100, b), (199, b), (200, a), (UInt64.max, a)] {
            #expect(assignment.owner(of: Key(key)) == owner)
        }
        #expect(try assignment.slice(of: Key(150)) == Slice(Key(100), Key(199)))
        #expect(try assignment.slices(of: a) == [Slice(Key(0), Key(99)), Slice(Key(200), Key(.max))])
        #expect(assignment.slices(of: HostID("c")) == [])
    }

    @Test(
        arguments: [
            ("no slices", [], []),
            ("a gap at the bottom", [1], [0]),
            ("fewer owners than slices", [0, 5], [0]),
            ("slices that are out of order", [0, 9, 5], [0, 1, 0]),
            ("a slice that is there twice", [0, 5, 5], [0, 1, 0]),
            ("an owner that is not in the table", [0, 5], [0, 2]),
            ("a host without a slice", [0, 5], [0, 0]),
        ] as [(String, [UInt64], [Int])]
    )
    func `an assignment with a fault is refused`(fault: String, starts: [UInt64], owners: [Int]) {
        let error = #expect(throws: SlicerError.self, "\(fault)") {
            try Assignment(generation: .first, hosts: [a, b], starts: starts, owners: owners)
        }
        #expect(error?.code == .invalidAssignment)
    }

    @Test func `hosts that are out of order are refused`() {
        #expect(throws: SlicerError.self) {
            try Assignment(generation: .first, hosts: [b, a], starts: [0, 5], owners: [0, 1])
        }
    }

    @Test func `a list with a gap, an overlap or an open end is refused`() throws {
        let low = try Slice(Key(0), Key(9))
        for next in [11, 9] as [UInt64] {
            let high = try Slice(Key(next), Key(.max))
            #expect(throws: SlicerError.self) {
                try Assignment(generation: .first, placements: [.init(low, on: a), .init(high, on: b)])
            }
        }
        #expect(throws: SlicerError.self) {
            try Assignment(generation: .first, placements: [.init(low, on: a)])
        }
        #expect(throws: SlicerError.self) {
            try Assignment(generation: .first, placements: [.init(.whole, on: a), .init(low, on: b)])
        }
        let whole = try Assignment(generation: .first, placements: [.init(.whole, on: a)])
        #expect(whole.count == 1 && whole.owner(of: Key(.max)) == a)
    }

    @Test func `moves are what changed hands, however it is sliced`() throws {
        let old = try Assignment(
            generation: .first,
            hosts: [a, b],
            starts: [0, 50, 100],
            owners: [0, 0, 1]
        )
        let new = try Assignment(
            generation: .first.next,
            hosts: [a, b],
            starts: [0, 20, 70, 90],
            owners: [0, 1, 1, 0]
        )
        #expect(
            try new.moves(from: old) == [
                .init(Slice(Key(20), Key(89)), from: a, to: b),
                .init(Slice(Key(100), Key(.max)), from: b, to: a),
            ]
        )
        #expect(old.moves(from: old) == [])
    }

    @Test(arguments: 0..<200)
    func `a delta leads from any assignment to any other`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let old = try randomAssignment(generation: Generation(3), &generator)
        var new = try randomAssignment(generation: Generation(5), &generator)
        if seed % 2 == 0 {
            // Neighbouring assignments have most of their slices in common.
            new = old
            for _ in 0..<3 {
                let slice = old.slice(of: Key(.random(in: 0 ... .max, using: &generator)))
                new = new.placing(slice, on: HostID("h\(Int.random(in: 0..<9, using: &generator))"))
            }
            new = new.renumbered(Generation(5))
        }
        let delta = new.delta(from: old)
        #expect(try old.applying(delta) == new, "seed \(seed)")
        #expect(delta.placements.count <= new.count)
        if seed % 2 == 0 { #expect(delta.placements.count <= 3) }
        #expect(throws: SlicerError.self) { try new.applying(delta) }
    }

    @Test func `a delta that does not cover what it replaces is refused`() throws {
        let old = try Assignment(generation: .first, hosts: [a, b], starts: [0, 50], owners: [0, 1])
        let part = try Slice(Key(10), Key(20))
        let delta = Assignment.Delta(
            base: .first,
            generation: Generation(2),
            placements: [.init(part, on: b)]
        )
        let error = #expect(throws: SlicerError.self) { try old.applying(delta) }
        #expect(error?.code == .invalidAssignment)
    }

    @Test func `one app is placed on another host and its neighbours stay`() throws {
        let old = try Assignment(generation: .first, hosts: [a, b], starts: [0, 50], owners: [0, 1])
        let key = Key(hashing: "guestbook")
        let new = old.placing(Slice(key), on: a)
        #expect(new.owner(of: key) == a)
        #expect(new.generation == Generation(2))
        #expect(new.moves(from: old) == [.init(Slice(key), from: b, to: a)])
        #expect(try Assignment(generation: .first, placements: new.placements).count == 4)
        let all = old.placing(.whole, on: b)
        #expect(all.placements == [.init(.whole, on: b)])
    }

    private func randomAssignment(
        generation: Generation,
        _ generator: inout SeededGenerator
    ) throws -> Assignment {
        var starts: Set<UInt64> = [0]
        for _ in 0..<Int.random(in: 0..<20, using: &generator) {
            // A small space makes equal boundaries likely.
            starts.insert(UInt64.random(in: 0..<40, using: &generator))
        }
        let ordered = starts.sorted()
        return try Assignment(
            generation: generation,
            placements: ordered.indices.map { index in
                let last = index + 1 < ordered.count ? ordered[index + 1] - 1 : .max
                let host = HostID("h\(Int.random(in: 0..<4, using: &generator))")
                return try .init(Slice(Key(ordered[index]), Key(last)), on: host)
            }
        )
    }
}
