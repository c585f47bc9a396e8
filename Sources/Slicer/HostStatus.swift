/// The name of a host; it is compared and ordered byte by byte.
package struct HostID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name itself.
    package let name: String

    /// Takes a name as it stands.
    package init(_ name: String) {
        self.name = name
    }

    package var description: String { name }

    package static func < (left: HostID, right: HostID) -> Bool {
        left.name.utf8.lexicographicallyPrecedes(right.name.utf8)
    }
}

/// What a host can do for its slices.
package enum HostState: Hashable, Sendable {
    /// It serves and may be given more.
    case online
    /// It serves, and its slices are moved away as the budget allows.
    case draining
    /// It does not serve: its slices go to others at once, outside the budget.
    case lost
}

/// A host as the Slicer sees it at the start of a round.
package struct HostStatus: Hashable, Sendable {
    /// The host.
    package var id: HostID
    /// How much load it can carry, in the unit of `Weight.load`; below 1 counts as 1.
    package var capacity: Int
    /// What it can do.
    package var state: HostState

    /// Puts the three together.
    package init(_ id: HostID, capacity: Int, state: HostState) {
        self.id = id
        self.capacity = capacity
        self.state = state
    }
}
