public import struct Foundation.Date

/// One line that an app, or the platform about the app, wrote.
public struct LogRecord: Codable, Sendable, Equatable {
    public enum Stream: String, Codable, Sendable {
        case stdout, stderr
        /// The platform speaks: starts, stops, failures, limits.
        case system
    }

    /// How serious a line is, where its writer said so.
    public enum Level: String, Codable, Sendable, CaseIterable {
        case debug, info, warn, error
    }

    public var time: Date
    public var app: ApplicationID
    public var version: VersionID?
    public var requestID: String?
    public var stream: Stream
    public var level: Level?
    public var message: String

    public init(
        time: Date,
        app: ApplicationID,
        version: VersionID?,
        requestID: String?,
        stream: Stream,
        level: Level? = nil,
        message: String
    ) {
        self.time = time
        self.app = app
        self.version = version
        self.requestID = requestID
        self.stream = stream
        self.level = level
        self.message = message
    }
}
