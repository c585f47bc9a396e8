/// What went wrong with values that came from outside: a stored assignment, a delta, a load report.
package struct SlicerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kinds of failure that a caller may want to tell apart.
    package enum Code: Hashable, Sendable {
        /// A slice ends before it begins.
        case invalidSlice
        /// An assignment has a gap, an overlap, an unknown or doubled host.
        case invalidAssignment
        /// A delta belongs to another generation.
        case wrongGeneration
        /// A load is negative or too large to add up.
        case invalidLoad
        /// There is no host to give slices to.
        case noHosts
    }

    /// The kind of failure.
    package let code: Code
    /// What was tried, with what, and what to do.
    package let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}
