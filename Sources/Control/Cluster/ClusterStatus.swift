public import struct Foundation.Date

/// A host, as listings show it.
public struct HostSummary: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable, CaseIterable {
        case online
        /// Its apps are moving to other hosts.
        case draining
        /// It is empty after a drain, and may be stopped.
        case drained
        /// It gave no sign of life, and its lease is over.
        case lost
        /// It was stopped on purpose.
        case left
    }

    public var id: HostID
    public var state: State
    public var peer: HostAddress
    public var ingress: HostAddress
    public var api: String
    /// Microseconds of CPU time in a second.
    public var capacity: Int
    /// Used of it, as of the last round.
    public var load: Int
    public var apps: Int
    /// Apps that are on their way to it or from it.
    public var moving: Int
    public var slices: Int
    /// The part of the hash space that it owns, 0 to 1.
    public var share: Double
    public var databaseBytes: Int
    public var taskQueue: String
    /// Since when it is in its state.
    public var since: Date

    public init(
        id: HostID,
        state: State,
        peer: HostAddress,
        ingress: HostAddress,
        api: String,
        capacity: Int,
        load: Int,
        apps: Int,
        moving: Int,
        slices: Int,
        share: Double,
        databaseBytes: Int,
        taskQueue: String,
        since: Date
    ) {
        self.id = id
        self.state = state
        self.peer = peer
        self.ingress = ingress
        self.api = api
        self.capacity = capacity
        self.load = load
        self.apps = apps
        self.moving = moving
        self.slices = slices
        self.share = share
        self.databaseBytes = databaseBytes
        self.taskQueue = taskQueue
        self.since = since
    }
}

/// Which host has which part of the hash space, as listings show it.
public struct SliceSummary: Codable, Sendable, Equatable {
    /// The ends, as 16 hexadecimal digits; both are in the slice.
    public var first: String
    public var last: String
    public var host: HostID

    public init(first: String, last: String, host: HostID) {
        self.first = first
        self.last = last
        self.host = host
    }
}

/// The assignment, as listings show it.
public struct AssignmentSummary: Codable, Sendable, Equatable {
    /// Of the routes; it grows with every change.
    public var generation: Int
    /// Of the slices alone.
    public var assignment: Int
    public var slices: [SliceSummary]
    /// Apps that are not on the host of their slice.
    public var exceptions: [RouteException]
    /// The highest load of a host in proportion to its fair load, as of the last round; 1 is even.
    public var maxToMean: Double?
    /// Apps that by themselves are more than a host's fair share.
    public var hotApps: [String]

    public init(
        generation: Int,
        assignment: Int,
        slices: [SliceSummary],
        exceptions: [RouteException],
        maxToMean: Double?,
        hotApps: [String]
    ) {
        self.generation = generation
        self.assignment = assignment
        self.slices = slices
        self.exceptions = exceptions
        self.maxToMean = maxToMean
        self.hotApps = hotApps
    }
}

/// Where an app is, as the slicer knows it.
public struct ApplicationResidence: Codable, Sendable, Equatable {
    public var app: ApplicationID
    public var host: HostID
    public var epoch: Int
    /// Where it is on its way to.
    public var destination: HostID?

    public init(app: ApplicationID, host: HostID, epoch: Int, destination: HostID?) {
        self.app = app
        self.host = host
        self.epoch = epoch
        self.destination = destination
    }
}
