public import struct Foundation.Date

/// Something that an app wants run at set times.
public struct CronJob: Codable, Sendable, Hashable, CustomStringConvertible {
    public typealias CatchUp = ApplicationSettings.CronEntry.CatchUp

    /// Five fields, in UTC.
    public var schedule: String
    /// The path of the request that is made; without it the handler of the route `CRON <schedule>` runs.
    public var path: String?
    public var catchUp: CatchUp

    public init(schedule: String, path: String? = nil, catchUp: CatchUp = .once) {
        self.schedule = schedule
        self.path = path
        self.catchUp = catchUp
    }

    /// A job as a worker reports it: the expression of a route, with `skip` or `once` after it where the app says so.
    ///
    /// - Throws: ``MartletError`` with code `invalid_settings`.
    public init(route: String) throws(MartletError) {
        var fields = route.split(separator: " ").map(String.init)
        var catchUp = CatchUp.once
        if fields.count == 6, let last = fields.last, let rule = CatchUp(rawValue: last) {
            catchUp = rule
            fields.removeLast()
        }
        let schedule = try CronSchedule(parsing: fields.joined(separator: " "))
        self.init(schedule: schedule.description, catchUp: catchUp)
    }

    public var description: String { path.map { "\(schedule) \($0)" } ?? "CRON \(schedule)" }
}

/// A job as listings show it.
public struct CronStatus: Codable, Sendable, Equatable {
    public var job: CronJob
    /// When it runs next; nothing where its schedule names a day that there is not.
    public var nextAt: Date?
    /// The time for which it ran last.
    public var lastSlotAt: Date?
    public var lastStartedAt: Date?
    public var lastMilliseconds: Int?
    /// Why the last run failed.
    public var lastError: String?
    public var isRunning: Bool

    public init(
        job: CronJob,
        nextAt: Date?,
        lastSlotAt: Date? = nil,
        lastStartedAt: Date? = nil,
        lastMilliseconds: Int? = nil,
        lastError: String? = nil,
        isRunning: Bool = false
    ) {
        self.job = job
        self.nextAt = nextAt
        self.lastSlotAt = lastSlotAt
        self.lastStartedAt = lastStartedAt
        self.lastMilliseconds = lastMilliseconds
        self.lastError = lastError
        self.isRunning = isRunning
    }
}
