/// How much may move in one round for balance, for merging and for draining together.
///
/// A round stays within all three limits. The one exception keeps a drain from hanging: an app that is by
/// itself above a limit may move alone in a round in which nothing else is moved by plan. With a limit of 0
/// nothing is moved by plan at all.
package struct Budget: Hashable, Sendable {
    /// The number of awake apps that may be interrupted.
    package var apps: Int
    /// The bytes of databases that may be copied.
    package var bytes: Int
    /// The part of the hash space that may change its owner, from 0 to 1.
    ///
    /// The Slicer paper allows 0.09 for moves and 0.01 for merges (section 4.4.1).
    package var keyShare: Double

    /// Puts the three together.
    package init(apps: Int, bytes: Int, keyShare: Double) {
        self.apps = apps
        self.bytes = bytes
        self.keyShare = keyShare
    }

    /// A budget in proportion to what there is, with a floor so that a small cluster can move at all.
    ///
    /// - Parameters:
    ///   - share: the part of everything that may move, from 0 to 1.
    ///   - total: what there is: `LoadMap.total`.
    ///   - floor: the least number of apps, and of bytes, to allow.
    /// - Returns: the larger of the part and the floor, for each limit.
    package static func share(_ share: Double, of total: Weight, floor: Weight) -> Budget {
        let part = min(max(0, share), 1)
        return Budget(
            apps: max(floor.apps, Int(part * Double(total.apps))),
            bytes: max(floor.bytes, Int(part * Double(total.bytes))),
            keyShare: part
        )
    }

    /// A quarter, rounded up.
    var quarter: Budget {
        Budget(
            apps: apps / 4 + (apps % 4).signum(),
            bytes: bytes / 4 + (bytes % 4).signum(),
            keyShare: keyShare / 4
        )
    }
}

/// What it costs to move a slice, in seconds of work: what the assigner weighs against the load that a move
/// takes off a host.
package struct MoveCost: Hashable, Sendable {
    /// For the slice as such: a new entry in every table.
    package var perSlice: Double
    /// For each awake app: it is stopped here and started there.
    package var perApp: Double
    /// For each byte of databases: it is read from the store and written to disk.
    package var perByte: Double

    /// Puts the three together.
    package init(perSlice: Double, perApp: Double, perByte: Double) {
        self.perSlice = perSlice
        self.perApp = perApp
        self.perByte = perByte
    }

    /// 10 ms a slice, 250 ms an app, and 50 MB of databases a second.
    package static let standard = MoveCost(perSlice: 0.01, perApp: 0.25, perByte: 1 / 50e6)

    func of(_ weight: Weight) -> Double {
        perSlice + perApp * Double(weight.apps) + perByte * Double(weight.bytes)
    }
}

/// What a round strives for, and when it lets things be.
///
/// Ratios are to the fair load: the load of the cluster divided among the online hosts in proportion to
/// their capacities.
package struct Policy: Hashable, Sendable {
    /// A host above this ratio gives slices away.
    package var startAbove: Double
    /// It gives until it is at this ratio, and nobody is filled above it.
    ///
    /// The distance to `startAbove` is what keeps a balanced cluster still.
    package var settleAt: Double
    /// A host below this ratio, such as a new one, is given slices.
    package var starvedBelow: Double
    /// It is given slices until it is at this ratio.
    package var fillTo: Double
    /// How much lower, in fair loads, a host must be after it was given a slice that it has no room for than
    /// the giver was before: an exchange of one overload for another is not worth a move.
    package var leastGain: Double
    /// What the hash space weighs without any load, as a part of the capacity of the cluster: it
    /// spreads sleeping apps evenly and keeps a cluster that does next to nothing still.
    package var baseShare: Double
    /// A slice is split if it weighs more than this many average slices (a host's fair load divided by
    /// `slicesPerHost`).
    ///
    /// Two slices are merged if they weigh at most one average slice together.
    package var hotSliceFactor: Double
    /// The number of slices per online host to start with, and above which cold neighbours are brought
    /// together even if one has to move.
    package var slicesPerHost: Int
    /// The number of slices per online host below which nothing is merged.
    ///
    /// The paper's figure is 50.
    package var minimumSlicesPerHost: Int
    /// The number of slices per online host above which nothing is split.
    ///
    /// The paper's figure is 150.
    package var maximumSlicesPerHost: Int
    /// The cost of moves.
    package var cost: MoveCost

    /// Sets every number.
    package init(
        startAbove: Double,
        settleAt: Double,
        starvedBelow: Double,
        fillTo: Double,
        leastGain: Double,
        baseShare: Double,
        hotSliceFactor: Double,
        slicesPerHost: Int,
        minimumSlicesPerHost: Int,
        maximumSlicesPerHost: Int,
        cost: MoveCost
    ) {
        self.startAbove = startAbove
        self.settleAt = settleAt
        self.starvedBelow = starvedBelow
        self.fillTo = fillTo
        self.leastGain = leastGain
        self.baseShare = baseShare
        self.hotSliceFactor = hotSliceFactor
        self.slicesPerHost = slicesPerHost
        self.minimumSlicesPerHost = minimumSlicesPerHost
        self.maximumSlicesPerHost = maximumSlicesPerHost
        self.cost = cost
    }

    /// The policy that the simulation was tuned with; see docs/slicer.md.
    package static let standard = Policy(
        startAbove: 1.08,
        settleAt: 1.05,
        starvedBelow: 0.7,
        fillTo: 0.9,
        leastGain: 0.05,
        baseShare: 0.01,
        hotSliceFactor: 2,
        slicesPerHost: 100,
        minimumSlicesPerHost: 50,
        maximumSlicesPerHost: 150,
        cost: .standard
    )
}
