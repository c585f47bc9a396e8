public import struct Foundation.Date

/// What an app does right now.
public enum ApplicationState: String, Codable, Sendable, CaseIterable {
    /// Its first version is being deployed.
    case deploying
    /// A worker is being made ready; requests are held.
    case starting
    case running
    /// Its worker exists and uses no CPU; it answers within milliseconds.
    case frozen
    /// It has no worker; the next request starts one.
    case asleep
    /// The last version runs no more requests; its worker is about to exit.
    case stopping
    /// Its worker failed to start too often; requests get the last error until the back-off has passed.
    case failed
}

/// An app, as listings show it.
public struct ApplicationStatus: Codable, Sendable, Equatable {
    /// The last failure that the app's owner should know.
    public struct Failure: Codable, Sendable, Equatable {
        public var message: String
        public var at: Date

        public init(message: String, at: Date) {
            self.message = message
            self.at = at
        }
    }

    public var id: ApplicationID
    public var owner: UserID
    public var state: ApplicationState
    public var version: VersionID?
    public var url: String
    public var host: HostID?
    public var createdAt: Date
    public var deployedAt: Date?
    public var lastRequestAt: Date?
    /// Requests since the host started.
    public var requests: Int
    /// Requests that are being answered, open WebSockets included.
    public var activeRequests: Int
    /// Idle time in seconds before the app sleeps; nothing when it never does.
    public var sleepAfterSeconds: Double?
    /// Memory of the worker, where there is one and it can be measured.
    public var memoryBytes: Int?
    public var lastError: Failure?
    /// What runs at set times.
    public var cron: [CronStatus]
    /// When the replicas of its databases were last restored and found sound.
    public var provenAt: Date?

    public init(
        id: ApplicationID,
        owner: UserID,
        state: ApplicationState,
        version: VersionID?,
        url: String,
        host: HostID?,
        createdAt: Date,
        deployedAt: Date? = nil,
        lastRequestAt: Date? = nil,
        requests: Int = 0,
        activeRequests: Int = 0,
        sleepAfterSeconds: Double? = nil,
        memoryBytes: Int? = nil,
        lastError: Failure? = nil,
        cron: [CronStatus] = []
    ) {
        self.id = id
        self.owner = owner
        self.state = state
        self.version = version
        self.url = url
        self.host = host
        self.createdAt = createdAt
        self.deployedAt = deployedAt
        self.lastRequestAt = lastRequestAt
        self.requests = requests
        self.activeRequests = activeRequests
        self.sleepAfterSeconds = sleepAfterSeconds
        self.memoryBytes = memoryBytes
        self.lastError = lastError
        self.cron = cron
    }
}
