/// What went wrong in an object store, or with a record kept in one.
package struct StorageError: Error, CustomStringConvertible {
    /// The kinds of failure that callers tell apart.
    package enum Code: String, Sendable {
        /// There is no object under the key.
        case notFound
        /// A condition of the write did not hold: the object exists already, or it is not the expected version.
        case conditionFailed
        /// The key, the setting or the address is not a valid one.
        case invalid
        /// The store refuses these credentials.
        case denied
        /// The store did not answer, or answered that it can not now. Trying later may help.
        case unavailable
        /// There is no room left.
        case full
        /// What was read is not what was written.
        case corrupt
        /// The store answered something that this client does not understand.
        case unexpected
    }

    package let code: Code
    package let message: String
    /// The error underneath, where there is one.
    package let cause: (any Error)?

    package init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    package var description: String {
        guard let cause else { return message }
        return "\(message): \(cause)"
    }
}
