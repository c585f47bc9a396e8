/// What `martlet.json` says about an app; everything has a default.
public struct ApplicationSettings: Codable, Sendable, Equatable {
    /// The file's name in the app's folder.
    public static let fileName = "martlet.json"

    public var name: ApplicationID?
    /// The script to start, relative to the app's folder; without it `main.ts`, `main.js`, `main` of `package.json` or
    /// `main.wasm`.
    public var main: String?
    /// Variables that are no secrets; those set with `martlet env` win over them.
    public var env: [String: String]
    public var limits: Limits
    /// Without it the host's default.
    public var sleepAfter: SleepPolicy?
    /// Without it the default of the store.
    public var durability: Durability?
    public var cron: [CronEntry]
    public var network: NetworkPolicy

    public init(
        name: ApplicationID? = nil,
        main: String? = nil,
        env: [String: String] = [:],
        limits: Limits = Limits(),
        sleepAfter: SleepPolicy? = nil,
        durability: Durability? = nil,
        cron: [CronEntry] = [],
        network: NetworkPolicy = .open
    ) {
        self.name = name
        self.main = main
        self.env = env
        self.limits = limits
        self.sleepAfter = sleepAfter
        self.durability = durability
        self.cron = cron
        self.network = network
    }
}

extension ApplicationSettings {
    /// What one worker may use; without a value the host's default.
    public struct Limits: Codable, Sendable, Equatable {
        public var memoryBytes: Int?
        /// Cores: 0.5 is half of one.
        public var cpu: Double?
        public var requestTimeout: Duration?
        /// Of the app's data folder.
        public var diskBytes: Int?

        public init(
            memoryBytes: Int? = nil,
            cpu: Double? = nil,
            requestTimeout: Duration? = nil,
            diskBytes: Int? = nil
        ) {
            self.memoryBytes = memoryBytes
            self.cpu = cpu
            self.requestTimeout = requestTimeout
            self.diskBytes = diskBytes
        }
    }

    /// When an app without requests sleeps.
    public enum SleepPolicy: Codable, Sendable, Equatable {
        case never
        case after(Duration)
    }

    /// Whether an answer waits until the writes behind it are in the replica.
    public enum Durability: String, Codable, Sendable, CaseIterable {
        case gated, async
    }

    /// A request that the platform makes to the app at set times.
    public struct CronEntry: Codable, Sendable, Equatable {
        /// What happens after times were missed.
        public enum CatchUp: String, Codable, Sendable, CaseIterable {
            /// One run makes up for all that were missed.
            case once
            case skip
        }

        /// Five fields, in UTC: minute, hour, day of the month, month, day of the week.
        public var schedule: String
        /// The path of the request.
        public var path: String
        public var catchUp: CatchUp

        public init(schedule: String, path: String, catchUp: CatchUp = .once) {
            self.schedule = schedule
            self.path = path
            self.catchUp = catchUp
        }
    }

    /// What the app may reach.
    ///
    /// Private, link-local and metadata addresses are out of reach whatever this says.
    public enum NetworkPolicy: Codable, Sendable, Equatable {
        /// The public internet.
        case open
        case none
        /// These host names and no others; `*.example.com` covers every name below `example.com`.
        case only([String])
    }
}
