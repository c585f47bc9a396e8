/// One worker of this daemon's lifetime.
///
/// Numbers are never used again.
package struct WorkerID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let number: Int

    package init(_ number: Int) { self.number = number }

    /// Short, because it is a part of socket paths: the number in base 36.
    package var description: String { String(number, radix: 36) }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.number < rhs.number }
}

/// A point on the monotonic clock, as the time since an arbitrary start.
package typealias Uptime = Duration

/// One start of an app: which worker it gets is decided later.
package struct InstanceID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let number: Int

    package init(_ number: Int) { self.number = number }

    package var description: String { "\(number)" }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.number < rhs.number }
}
