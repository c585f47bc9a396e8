/// The number of an assignment: the later assignment has the higher one, and a host refuses older ones.
package struct Generation: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The generation of a cluster's first assignment.
    package static let first = Generation(1)

    /// The number, from 1 on.
    package let number: UInt64

    /// Takes a number that was recorded before.
    package init(_ number: UInt64) {
        self.number = number
    }

    /// The generation after this one.
    package var next: Generation { Generation(number + 1) }

    package var description: String { String(number) }

    package static func < (left: Generation, right: Generation) -> Bool {
        left.number < right.number
    }
}
