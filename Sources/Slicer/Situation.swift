/// All that a round goes by.
///
/// The same situation always leads to the same round.
package struct Situation: Sendable {
    /// The assignment that is in force.
    package var assignment: Assignment
    /// The hosts of the cluster.
    ///
    /// One that owns slices and is not among them counts as lost.
    package var hosts: [HostStatus]
    /// The load as last measured.
    package var loads: LoadMap
    /// How much may move by plan.
    package var budget: Budget
    /// Where a person has put something: it is neither split, merged nor moved for balance, and leaves only
    /// a draining or a lost host.
    package var pinned: [Slice]
    /// What is still on its way from an earlier round: nothing is planned for it at all.
    ///
    /// It leaves only a lost host.
    package var inTransit: [Slice]

    /// Puts it all together.
    package init(
        assignment: Assignment,
        hosts: [HostStatus],
        loads: LoadMap,
        budget: Budget,
        pinned: [Slice] = [],
        inTransit: [Slice] = []
    ) {
        self.assignment = assignment
        self.hosts = hosts
        self.loads = loads
        self.budget = budget
        self.pinned = pinned
        self.inTransit = inTransit
    }
}
