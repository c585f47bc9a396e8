/// What a part of the hash space weighs: its load, and what moving it would cost.
///
/// All three are whole numbers, so that sums do not depend on their order and every machine computes the
/// same assignment.
package struct Weight: Hashable, Sendable {
    /// Nothing at all.
    package static let zero = Weight(load: 0, apps: 0, bytes: 0)

    /// The load, in the unit of `HostStatus.capacity`; microseconds of CPU time per second suit both.
    package var load: Int
    /// The number of apps that would be interrupted by a move: those that are awake.
    package var apps: Int
    /// The size of the databases that would be copied by a move, in bytes.
    package var bytes: Int

    /// Puts the three together.
    package init(load: Int, apps: Int, bytes: Int) {
        self.load = load
        self.apps = apps
        self.bytes = bytes
    }

    package static func + (left: Weight, right: Weight) -> Weight {
        Weight(load: left.load + right.load, apps: left.apps + right.apps, bytes: left.bytes + right.bytes)
    }

    package static func - (left: Weight, right: Weight) -> Weight {
        Weight(load: left.load - right.load, apps: left.apps - right.apps, bytes: left.bytes - right.bytes)
    }

    package static func += (left: inout Weight, right: Weight) {
        left = left + right
    }

    /// The largest sum that a map takes: low enough that no calculation on it overflows.
    static let limit = Int.max / 8

    var isWithinLimit: Bool { load <= Weight.limit && apps <= Weight.limit && bytes <= Weight.limit }

    /// The sum, or nil where a number would overflow.
    func adding(_ other: Weight) -> Weight? {
        let (load, loadOverflow) = load.addingReportingOverflow(other.load)
        let (apps, appsOverflow) = apps.addingReportingOverflow(other.apps)
        let (bytes, bytesOverflow) = bytes.addingReportingOverflow(other.bytes)
        guard !loadOverflow, !appsOverflow, !bytesOverflow else { return nil }
        return Weight(load: load, apps: apps, bytes: bytes)
    }

    /// The part that `numerator` of `distance + 1` keys weigh, each number rounded down.
    func part(_ numerator: UInt64, ofDistance distance: UInt64) -> Weight {
        Weight(
            load: Weight.part(load, numerator, distance),
            apps: Weight.part(apps, numerator, distance),
            bytes: Weight.part(bytes, numerator, distance)
        )
    }

    private static func part(_ value: Int, _ numerator: UInt64, _ distance: UInt64) -> Int {
        let product = UInt64(value).multipliedFullWidth(by: numerator)
        // The whole space has 2^64 keys, which no UInt64 holds: dividing by it leaves the upper word.
        guard distance < .max else { return Int(product.high) }
        return Int((distance + 1).dividingFullWidth(product).quotient)
    }
}
