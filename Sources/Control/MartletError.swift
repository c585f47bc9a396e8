/// What goes wrong in Martlet, as a person and a program are to see it: a code to act on and a message to read.
///
/// The message says what was tried, with what, and what to do. It never holds a secret.
public struct MartletError: Error, Sendable {
    /// The kinds of failure; each has one HTTP status in the API and one exit status in the command line.
    public enum Code: String, Codable, Sendable, CaseIterable {
        case badRequest = "bad_request"
        case unauthorized
        case notFound = "not_found"
        case nameTaken = "name_taken"
        case conflict
        /// A host has seen a later order for the app.
        case staleOrder = "stale_order"
        /// Another host owns the app.
        case ownedElsewhere = "owned_elsewhere"
        case invalidArchive = "invalid_archive"
        case invalidSettings = "invalid_settings"
        case checkFailed = "check_failed"
        case tooLarge = "too_large"
        case quotaExceeded = "quota_exceeded"
        case diskFull = "disk_full"
        /// What was stored of an app is not what was written.
        case dataDamaged = "data_damaged"
        case unavailable
        case timeout
        case cancelled
        case `internal`
    }

    public var code: Code
    public var message: String
    /// The error below this one, for logs; the API sends `message` alone.
    public var cause: (any Error)?

    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }
}

extension MartletError: CustomStringConvertible {
    public var description: String {
        guard let cause else { return "\(code.rawValue): \(message)" }
        return "\(code.rawValue): \(message) (\(cause))"
    }
}
