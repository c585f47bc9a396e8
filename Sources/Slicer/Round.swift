/// What a round decided, and why.
package struct Round: Hashable, Sendable {
    /// Why something moves.
    package enum Cause: Hashable, Sendable {
        /// Its host is lost. Such moves are outside the budget.
        case lost
        /// Its host is draining.
        case draining
        /// Its host has too much to do, or another too little; or it was merged with a neighbour.
        case balance
    }

    /// A part of the hash space that changes its owner.
    package struct Move: Hashable, Sendable {
        /// What moves from where to where.
        package let move: Assignment.Move
        /// Why.
        package let cause: Cause
        /// What it weighs.
        package let weight: Weight
    }

    /// A key so hot that no move helps: by itself it is more than its host's fair share.
    ///
    /// Its app needs a larger host, or to be made of several apps.
    package struct HotKey: Hashable, Sendable {
        /// The key.
        package let key: Key
        /// The host it is on after the round.
        package let host: HostID
        /// Its load alone.
        package let load: Int
        /// Its load in proportion to the fair load of its host.
        package let ratio: Double
    }

    /// The load of a host after the round, by the loads that the round was given.
    package struct HostLoad: Hashable, Sendable {
        /// The host.
        package let host: HostID
        /// Its state.
        package let state: HostState
        /// What its slices weigh.
        package let weight: Weight
        /// The number of its slices.
        package let slices: Int
    }

    /// The assignment to put in force; the one given, with its generation, if nothing changes.
    package let assignment: Assignment
    /// What has to move for it, in the order of the keys.
    package let moves: [Move]
    /// The hottest keys that cannot be balanced, hottest first.
    package let hotKeys: [HotKey]
    /// The hosts after the round, ascending, including the ones that are left with nothing.
    package let hosts: [HostLoad]
    /// How many slices were cut off another.
    package let splits: Int
    /// How many slices were joined to their neighbour.
    package let merges: Int
    /// The highest load of an online host in proportion to its fair load, before the round; 1 is even.
    ///
    /// Lost hosts' slices are nobody's then.
    package let maxToMeanBefore: Double
    /// The same after the round.
    package let maxToMeanAfter: Double
    /// Slices that stay with a lost host because there is no other.
    package let stranded: Int
    /// Slices that stay with a draining host until a later round.
    package let waiting: Int

    /// Whether there is a new assignment to put in force.
    package let isChange: Bool
}
