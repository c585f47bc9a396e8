/// What went wrong while packing or unpacking.
public struct ArchiveError: Error, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// The bytes are no archive, or a damaged one.
        case malformed
        /// The archive or the folder asks for something that is never done: a path or link that leads out, a device.
        case unsafe
        /// More bytes or files than the limits allow.
        case tooLarge
        case diskFull
        /// A file could not be read or written.
        case file
    }

    public var code: Code
    public var message: String
    public var cause: (any Error)?

    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    public var description: String { message }
}
