import Foundation

/// A system call that failed.
package struct SystemError: Error, Sendable, CustomStringConvertible {
    package let number: Int32
    /// What was tried, with what.
    package let attempt: String

    package init(_ number: Int32, _ attempt: String) {
        self.number = number
        self.attempt = attempt
    }

    package var description: String { "\(attempt): \(String(cString: strerror(number)))" }

    /// Whether there is no room, or no more may be used.
    package var isDiskFull: Bool { number == ENOSPC || number == EDQUOT }

    /// Returns a call's result, or throws when it is a negative error number.
    @discardableResult
    package static func check<Value: SignedInteger & Sendable>(
        _ result: Value,
        _ attempt: @autoclosure () -> String
    ) throws(SystemError) -> Value {
        guard result < 0 else { return result }
        throw SystemError(Int32(truncatingIfNeeded: -result), attempt())
    }
}
