import Slicer

/// The ring of consistent hashing (Karger et al., 1997): every host has a number of points on it, its virtual
/// nodes, and an app belongs to the next point.
package struct Ring {
    /// The places of the points, ascending.
    package let points: [UInt64]
    /// The number of the host of each point.
    package let hosts: [Int32]

    /// Puts so many points on the ring for each host.
    package init(_ world: World, virtualNodes: Int) {
        var all: [(point: UInt64, host: Int32)] = []
        all.reserveCapacity(world.hosts.count * virtualNodes)
        for (number, host) in world.hosts.enumerated() {
            for node in 0..<virtualNodes {
                all.append((Key(hashing: "\(host.id)#\(node)").value, Int32(number)))
            }
        }
        all.sort { $0.point == $1.point ? $0.host < $1.host : $0.point < $1.point }
        points = all.map(\.point)
        hosts = all.map(\.host)
    }

    /// For each key, ascending, the index of the next point, whether or not its host is online.
    package func homes(of keys: [UInt64]) -> [Int] {
        var result: [Int] = []
        result.reserveCapacity(keys.count)
        var index = 0
        for key in keys {
            while index < points.count, points[index] < key { index += 1 }
            result.append(index == points.count ? 0 : index)
        }
        return result
    }
}

/// Consistent hashing that knows nothing of loads.
package struct PlainRingStrategy: Strategy {
    package let name: String
    package let tableEntries: Int
    package private(set) var decisionTime = Duration.zero
    private let ring: Ring
    private let homes: [Int]

    /// Makes the ring.
    package init(_ world: World, virtualNodes: Int) {
        name = "consistent hashing, \(virtualNodes) nodes"
        ring = Ring(world, virtualNodes: virtualNodes)
        homes = ring.homes(of: world.keys)
        tableEntries = ring.points.count
    }

    package mutating func place(_ world: World) -> [Int32] {
        let start = ContinuousClock.now
        defer { decisionTime = .now - start }
        return homes.map { home in
            var index = home
            while world.hosts[Int(ring.hosts[index])].state != .online {
                index = index + 1 == ring.points.count ? 0 : index + 1
            }
            return ring.hosts[index]
        }
    }
}

/// Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, SODA 2018): an app goes to the
/// next point whose host stays below a bound.
///
/// The heavy apps are taken first, or there is no room for them later; apps of about the same load (within a
/// factor of two) are taken in a fixed order in every round, so that an app moves only if those before it
/// did.
package struct BoundedRingStrategy: Strategy {
    package let name: String
    package let tableEntries: Int
    package private(set) var decisionTime = Duration.zero
    private let bound: Double
    private let ring: Ring
    private let homes: [Int]
    private let order: [Int]

    /// Makes the ring; no host is to have more than `bound` times the average load.
    package init(_ world: World, virtualNodes: Int, bound: Double) {
        name = "bounded loads, \(virtualNodes) nodes"
        self.bound = bound
        ring = Ring(world, virtualNodes: virtualNodes)
        homes = ring.homes(of: world.keys)
        tableEntries = ring.points.count
        var generator = SeededGenerator(seed: 7)
        order = Array(world.keys.indices).shuffled(using: &generator)
    }

    package mutating func place(_ world: World) -> [Int32] {
        let start = ContinuousClock.now
        defer { decisionTime = .now - start }
        let online = world.hosts.indices.filter { world.hosts[$0].state == .online }
        let total = world.loads.reduce(0, +)
        let most = Int(bound * Double(total) / Double(online.count))
        var room = [Int](repeating: -1, count: world.hosts.count)
        for host in online { room[host] = most }
        var result = [Int32](repeating: 0, count: world.keys.count)
        let classes = world.loads.map { Int.bitWidth - $0.leadingZeroBitCount }
        var byClass = [[Int]](repeating: [], count: Int.bitWidth + 1)
        for app in order { byClass[classes[app]].append(app) }
        for app in byClass.reversed().joined() {
            let load = world.loads[app]
            var index = homes[app]
            var steps = 0
            while room[Int(ring.hosts[index])] < load, steps < ring.points.count {
                index = index + 1 == ring.points.count ? 0 : index + 1
                steps += 1
            }
            var host = ring.hosts[index]
            if steps == ring.points.count {
                // Nobody has room for this app: the one with the most takes it.
                host = Int32(online.max { room[$0] < room[$1] } ?? 0)
            }
            room[Int(host)] -= load
            result[app] = host
        }
        return result
    }
}
