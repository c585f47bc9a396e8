import Slicer

/// Consistent hashing with load shedding: a host with too much load gives up points of the ring, so that
/// their arcs fall to the next point; a host with too little takes points that it gave up back.
///
/// Points given up stay so from round to round. This is what the Slicer paper calls load-aware consistent
/// hashing and used before weighted-move.
package struct SheddingRingStrategy: Strategy {
    package let name: String
    package let tableEntries: Int
    package private(set) var decisionTime = Duration.zero
    private let bound: Double
    private let ring: Ring
    private let homes: [Int]
    private let pointsOf: [[Int]]
    private var isActive: [Bool]

    /// Makes the ring; a host above `bound` times the average load sheds.
    package init(_ world: World, virtualNodes: Int, bound: Double) {
        name = "load shedding, \(virtualNodes) nodes"
        self.bound = bound
        ring = Ring(world, virtualNodes: virtualNodes)
        homes = ring.homes(of: world.keys)
        tableEntries = ring.points.count
        var points = [[Int]](repeating: [], count: world.hosts.count)
        for (index, host) in ring.hosts.enumerated() { points[Int(host)].append(index) }
        pointsOf = points
        isActive = [Bool](repeating: true, count: ring.points.count)
    }

    package mutating func place(_ world: World) -> [Int32] {
        let start = ContinuousClock.now
        defer { decisionTime = .now - start }
        let isOnline = world.hosts.map { $0.state == .online }
        let count = isOnline.reduce(0) { $1 ? $0 + 1 : $0 }
        let mean = Double(world.loads.reduce(0, +)) / Double(count)
        // Each pass sheds what is too much now; what it sheds may be too much for those who get it.
        for _ in 0..<20 {
            let arcs = arcs(world.loads, isOnline)
            var hosts = [Int](repeating: 0, count: world.hosts.count)
            for (point, load) in arcs.enumerated() { hosts[Int(ring.hosts[point])] += load }
            var changed = false
            for host in hosts.indices where isOnline[host] {
                if Double(hosts[host]) > bound * mean {
                    changed = shed(host, excess: hosts[host] - Int(bound * mean), arcs) || changed
                } else if Double(hosts[host]) < (2 - bound) * mean {
                    takeBack(host, missing: Int((2 - bound) * mean) - hosts[host], arcs, isOnline)
                }
            }
            if !changed { break }
        }
        return homes.map { ring.hosts[owner(of: $0, isOnline)] }
    }

    /// Gives up points that weigh about the excess together, the largest that fit first.
    private mutating func shed(_ host: Int, excess: Int, _ arcs: [Int]) -> Bool {
        let active = pointsOf[host].filter { isActive[$0] && arcs[$0] > 0 }.sorted { arcs[$0] > arcs[$1] }
        var left = excess
        var given = 0
        for point in active where arcs[point] <= left && given < active.count - 1 {
            isActive[point] = false
            left -= arcs[point]
            given += 1
        }
        // What is left is less than any arc: the smallest arc covers it.
        if left > 0, given < active.count - 1, let point = active.last(where: { isActive[$0] }) {
            isActive[point] = false
            given += 1
        }
        return given > 0
    }

    /// Takes points back whose arcs would bring about what is missing: the arc of a point that was given up
    /// is a part of that of the next active point.
    private mutating func takeBack(_ host: Int, missing: Int, _ arcs: [Int], _ isOnline: [Bool]) {
        var left = missing
        for point in pointsOf[host] where !isActive[point] && left > 0 {
            let likely = arcs[owner(of: point, isOnline)] / 2
            guard likely <= 2 * left else { continue }
            isActive[point] = true
            left -= likely
        }
    }

    private func owner(of point: Int, _ isOnline: [Bool]) -> Int {
        var index = point
        while !isActive[index] || !isOnline[Int(ring.hosts[index])] {
            index = index + 1 == ring.points.count ? 0 : index + 1
        }
        return index
    }

    private func arcs(_ loads: [Int], _ isOnline: [Bool]) -> [Int] {
        var result = [Int](repeating: 0, count: ring.points.count)
        for (app, load) in loads.enumerated() { result[owner(of: homes[app], isOnline)] += load }
        return result
    }
}
