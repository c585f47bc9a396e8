public import struct Foundation.Date

/// Something that is or was done with an app, step by step.
public struct OperationRecord: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable {
        case deploy, rollback, move, failover, configure, delete
    }

    public enum State: String, Codable, Sendable {
        case running
        case done
        /// It could not be done, and what was before is as before.
        case undone
        /// It could not be done, and the app is not served until something else is done.
        case failed
    }

    /// Unique among the app's operations.
    public var id: String
    public var kind: Kind
    public var state: State
    /// Why, where that is not plain from the kind.
    public var reason: String?
    public var from: HostID?
    public var to: HostID?
    public var version: VersionID?
    public var startedAt: Date
    public var finishedAt: Date?
    public var error: MartletFailure?
    public var steps: [Step]

    /// One step, on one host.
    public struct Step: Codable, Sendable, Equatable {
        public var name: String
        public var host: HostID?
        public var state: State
        public var startedAt: Date
        public var milliseconds: Int?
        /// Copied, downloaded or freed.
        public var bytes: Int?
        /// What a person reads beside it.
        public var message: String?

        public init(name: String, host: HostID?, startedAt: Date) {
            self.name = name
            self.host = host
            state = .running
            self.startedAt = startedAt
        }
    }

    public init(
        id: String,
        kind: Kind,
        reason: String? = nil,
        from: HostID? = nil,
        to: HostID? = nil,
        version: VersionID? = nil,
        startedAt: Date
    ) {
        self.id = id
        self.kind = kind
        state = .running
        self.reason = reason
        self.from = from
        self.to = to
        self.version = version
        self.startedAt = startedAt
        steps = []
    }
}

/// An error as records keep it.
public struct MartletFailure: Codable, Sendable, Equatable {
    public var code: MartletError.Code
    public var message: String

    public init(_ error: MartletError) {
        code = error.code
        message = error.message
    }

    public var error: MartletError { MartletError(code, message) }
}
