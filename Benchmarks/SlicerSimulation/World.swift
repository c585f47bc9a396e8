private import Foundation
package import Slicer

/// A made-up cluster whose load follows a power law and drifts.
///
/// Loads are in microseconds of CPU time per second. Rank r has a load in proportion to 1/r, cut off at half
/// of what a host has on average, as an app has one worker on one host. In each step a part of the apps
/// exchange their loads among each other, hot ones with cold ones, and every app follows the daylight of one
/// of 24 zones.
package struct World: Sendable {
    /// The numbers that make a world.
    package struct Options: Sendable {
        /// The number of hosts.
        package var hosts = 1000
        /// The number of apps.
        package var apps = 1_000_000
        /// The seed of everything random.
        package var seed: UInt64 = 1
        /// The part of the apps that exchange their loads in a step.
        package var exchange = 0.01
        /// How far the load of an app goes up and down over a day.
        package var daylight = 0.3
        /// The number of steps in a day.
        package var stepsPerDay = 288

        /// The cluster of the published figures.
        package init() {}
    }

    /// What a host can carry: 8 cores.
    package static let hostCapacity = 8_000_000

    /// The hosts; the states are the caller's to change.
    package var hosts: [HostStatus]
    /// The keys of the apps, ascending.
    package let keys: [UInt64]
    /// The load of each app now.
    package private(set) var loads: [Int]
    /// The size of the databases of each app.
    package let bytes: [Int]

    private let options: Options
    private var bases: [Int]
    private let zones: [UInt8]
    private var step = 0
    private var generator: SeededGenerator

    /// Makes the world at step 0.
    package init(_ options: Options) {
        self.options = options
        var generator = SeededGenerator(seed: options.seed)
        hosts = (0..<options.hosts).map { number in
            let digits = String(number)
            let name = "host-" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
            return HostStatus(HostID(name), capacity: World.hostCapacity, state: .online)
        }
        keys = (0..<options.apps).map { Key(hashing: "app-\($0)").value }.sorted()
        bases = World.powerLaw(options).shuffled(using: &generator)
        zones = (0..<options.apps).map { _ in UInt8.random(in: 0..<24, using: &generator) }
        // Most databases are small; one in a thousand is 1 GB.
        bytes = (0..<options.apps).map { _ in
            let uniform = Double.random(in: 0.001...1, using: &generator)
            return Int(1e6 / uniform)
        }
        loads = bases
        self.generator = generator
        applyDaylight()
    }

    /// Lets a step pass.
    package mutating func advance() {
        step += 1
        let count = Int(options.exchange * Double(options.apps))
        if count > 1 {
            let chosen = (0..<count).map { _ in Int.random(in: 0..<options.apps, using: &generator) }
            let unique = Array(Set(chosen)).sorted()
            let shuffled = unique.map { bases[$0] }.shuffled(using: &generator)
            for (index, base) in zip(unique, shuffled) { bases[index] = base }
        }
        applyDaylight()
    }

    /// The load as the Slicer is given it: every app by itself.
    package func loadMap() throws(SlicerError) -> LoadMap {
        try LoadMap(
            keys.indices.map { index in
                LoadMap.Cell(
                    Slice(Key(keys[index])),
                    Weight(load: loads[index], apps: 1, bytes: bytes[index])
                )
            }
        )
    }

    private mutating func applyDaylight() {
        let factors = (0..<24).map { zone in
            1 + options.daylight
                * sin(2 * .pi * (Double(step) / Double(options.stepsPerDay) + Double(zone) / 24))
        }
        for index in bases.indices {
            loads[index] = Int(Double(bases[index]) * factors[Int(zones[index])])
        }
    }

    /// Loads that add up to half of the capacity.
    private static func powerLaw(_ options: Options) -> [Int] {
        let total = Double(options.hosts * hostCapacity) / 2
        let most = total / Double(options.hosts) / 2
        // What is cut off the head is given to the tail, until the sum is right.
        var scale = total
        for _ in 0..<40 {
            let sum = (1...options.apps).reduce(0.0) { $0 + min(most, scale / Double($1)) }
            scale *= total / sum
        }
        return (1...options.apps).map { Int(min(most, scale / Double($0))) }
    }
}
