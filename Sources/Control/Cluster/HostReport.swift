/// Asks a host what it does and has.
public struct StatusOrder: Codable, Sendable, Equatable {
    public init() {}
}

/// What a host does and has.
public struct HostReport: Codable, Sendable, Equatable {
    public var host: HostID
    public var incarnation: String
    /// The generation of the routes that it has.
    public var generation: Int
    /// The time over which the loads were measured, in milliseconds.
    public var intervalMilliseconds: Int
    /// The apps whose owner it is, by name.
    public var apps: [ApplicationLoad]

    public init(
        host: HostID,
        incarnation: String,
        generation: Int,
        intervalMilliseconds: Int,
        apps: [ApplicationLoad]
    ) {
        self.host = host
        self.incarnation = incarnation
        self.generation = generation
        self.intervalMilliseconds = intervalMilliseconds
        self.apps = apps
    }
}

/// What an app on a host does and has; counts are of the report's interval.
public struct ApplicationLoad: Codable, Sendable, Equatable {
    public var app: ApplicationID
    public var epoch: Int
    public var isAwake: Bool
    public var requests: Int
    /// Answers of 500 and above, and requests without an answer.
    public var errors: Int
    public var cpuMicroseconds: Int
    public var memoryBytes: Int
    public var databaseBytes: Int

    public init(
        app: ApplicationID,
        epoch: Int,
        isAwake: Bool,
        requests: Int = 0,
        errors: Int = 0,
        cpuMicroseconds: Int = 0,
        memoryBytes: Int = 0,
        databaseBytes: Int = 0
    ) {
        self.app = app
        self.epoch = epoch
        self.isAwake = isAwake
        self.requests = requests
        self.errors = errors
        self.cpuMicroseconds = cpuMicroseconds
        self.memoryBytes = memoryBytes
        self.databaseBytes = databaseBytes
    }

    private enum CodingKeys: String, CodingKey {
        // Short, because histories keep one for each app and round.
        case app = "a"
        case epoch = "e"
        case isAwake = "w"
        case requests = "r"
        case errors = "x"
        case cpuMicroseconds = "c"
        case memoryBytes = "m"
        case databaseBytes = "d"
    }
}
