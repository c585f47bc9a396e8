import Slicer

/// Which host owns which app: slices of the hash space, and the apps that are elsewhere for now.
///
/// A value is always whole: the slices cover every key.
public struct RouteTable: Sendable, Equatable {
    /// Grows with every change.
    public private(set) var generation: Int
    /// The hosts that a request may be sent to.
    public private(set) var hosts: [RouteHost]
    /// The lowest key of each slice, ascending; the first is 0.
    public private(set) var starts: [UInt64]
    /// The owner of each slice, as an index into `hosts`.
    public private(set) var owners: [Int]
    /// Apps that are not on the host of their slice, or whose host is only now getting them.
    public private(set) var exceptions: [ApplicationID: RouteException]

    /// Checks and takes a table.
    ///
    /// - Throws: ``MartletError`` with code `internal` when a key would have no owner.
    public init(
        generation: Int,
        hosts: [RouteHost],
        starts: [UInt64],
        owners: [Int],
        exceptions: [ApplicationID: RouteException]
    ) throws(MartletError) {
        func invalid(_ fault: String) -> MartletError {
            MartletError(.internal, "take routes \(generation): \(fault); get the whole table again")
        }
        guard starts.first == 0, starts.count == owners.count else {
            throw invalid("its \(starts.count) slices and \(owners.count) owners do not cover every key")
        }
        for index in starts.indices.dropFirst() where starts[index] <= starts[index - 1] {
            throw invalid("slice \(index) does not start above the one before it")
        }
        guard owners.allSatisfy(hosts.indices.contains) else { throw invalid("a slice's owner is unknown") }
        self.generation = generation
        self.hosts = hosts
        self.starts = starts
        self.owners = owners
        self.exceptions = exceptions
    }

    /// The key of an app in the hash space, which is for ever.
    public static func key(of app: ApplicationID) -> UInt64 { Key(hashing: app.rawValue).value }

    /// The host that owns the slice that an app's key is in.
    public func sliceOwner(of app: ApplicationID) -> RouteHost {
        let key = Self.key(of: app)
        var low = 0
        var high = starts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= key { low = middle } else { high = middle }
        }
        return hosts[owners[low]]
    }

    /// The host that an app's requests go to.
    public func host(of app: ApplicationID) -> RouteHost {
        if let exception = exceptions[app], let host = hosts.first(where: { $0.id == exception.host }) {
            return host
        }
        return sliceOwner(of: app)
    }

    /// The table after a change; nil when the change is based on another table, and the whole one is needed.
    ///
    /// A change that this table has already, or a later one, leaves it as it is.
    public func applying(_ change: RouteChange) throws(MartletError) -> RouteTable? {
        if change.generation <= generation { return self }
        guard change.base == generation else { return nil }
        var exceptions = exceptions
        for app in change.removed { exceptions[app] = nil }
        for exception in change.exceptions { exceptions[exception.app] = exception }
        return try RouteTable(
            generation: change.generation,
            hosts: change.hosts ?? hosts,
            starts: change.slices?.starts ?? starts,
            owners: change.slices?.owners ?? owners,
            exceptions: exceptions
        )
    }

    /// What leads from an earlier table to this one.
    public func change(from earlier: RouteTable) -> RouteChange {
        // Owners are indices into the hosts, so the two change together.
        let isSame = earlier.hosts == hosts && earlier.starts == starts && earlier.owners == owners
        return RouteChange(
            base: earlier.generation,
            generation: generation,
            hosts: isSame ? nil : hosts,
            slices: isSame ? nil : RouteSlices(starts: starts, owners: owners),
            exceptions: exceptions.values.filter { earlier.exceptions[$0.app] != $0 }
                .sorted { $0.app < $1.app },
            removed: earlier.exceptions.keys.filter { exceptions[$0] == nil }.sorted()
        )
    }
}

/// A host, as far as routes need it.
public struct RouteHost: Codable, Sendable, Equatable {
    public var id: HostID
    /// Where other hosts reach it.
    public var peer: HostAddress

    public init(id: HostID, peer: HostAddress) {
        self.id = id
        self.peer = peer
    }
}

/// An app that is not where its slice is.
public struct RouteException: Codable, Sendable, Equatable {
    public var app: ApplicationID
    public var host: HostID
    public var epoch: Int

    public init(app: ApplicationID, host: HostID, epoch: Int) {
        self.app = app
        self.host = host
        self.epoch = epoch
    }
}

/// What to change in one table to have the next.
public struct RouteChange: Codable, Sendable, Equatable {
    /// The generation that it applies to.
    public var base: Int
    public var generation: Int
    /// nil when they are as they were.
    public var hosts: [RouteHost]?
    /// nil when they are as they were.
    public var slices: RouteSlices?
    /// New, or changed.
    public var exceptions: [RouteException]
    /// Apps that are where their slice is.
    public var removed: [ApplicationID]

    public init(
        base: Int,
        generation: Int,
        hosts: [RouteHost]?,
        slices: RouteSlices?,
        exceptions: [RouteException],
        removed: [ApplicationID]
    ) {
        self.base = base
        self.generation = generation
        self.hosts = hosts
        self.slices = slices
        self.exceptions = exceptions
        self.removed = removed
    }
}

/// The slices of a table, in a form that is small in JSON: keys as 16 hexadecimal digits each, one after the other.
public struct RouteSlices: Codable, Sendable, Equatable {
    public var starts: [UInt64]
    public var owners: [Int]

    public init(starts: [UInt64], owners: [Int]) {
        self.starts = starts
        self.owners = owners
    }

    private enum CodingKeys: String, CodingKey {
        case starts, owners
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let digits = Array(try container.decode(String.self, forKey: .starts).utf8)
        starts = try stride(from: 0, to: digits.count, by: 16).map { index in
            let text = String(decoding: digits[index..<min(index + 16, digits.count)], as: UTF8.self)
            guard text.utf8.count == 16, let key = UInt64(text, radix: 16) else {
                throw DecodingError.dataCorruptedError(
                    forKey: .starts,
                    in: container,
                    debugDescription: "\(text) is no key of 16 hexadecimal digits"
                )
            }
            return key
        }
        owners = try container.decode([Int].self, forKey: .owners)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(starts.map { Key($0).description }.joined(), forKey: .starts)
        try container.encode(owners, forKey: .owners)
    }
}

extension RouteTable: Codable {
    private enum CodingKeys: String, CodingKey {
        case generation, hosts, slices, exceptions
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let slices = try container.decode(RouteSlices.self, forKey: .slices)
        let exceptions = try container.decode([RouteException].self, forKey: .exceptions)
        try self.init(
            generation: try container.decode(Int.self, forKey: .generation),
            hosts: try container.decode([RouteHost].self, forKey: .hosts),
            starts: slices.starts,
            owners: slices.owners,
            exceptions: Dictionary(exceptions.map { ($0.app, $0) }) { _, later in later }
        )
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(generation, forKey: .generation)
        try container.encode(hosts, forKey: .hosts)
        try container.encode(RouteSlices(starts: starts, owners: owners), forKey: .slices)
        try container.encode(exceptions.values.sorted { $0.app < $1.app }, forKey: .exceptions)
    }
}

/// Brings a change of the routes to a host.
public struct PublishOrder: Codable, Sendable, Equatable {
    public var change: RouteChange

    public init(change: RouteChange) { self.change = change }
}

/// What a host knows after ``HostOrders/publish(_:)``.
public struct PublishReport: Codable, Sendable, Equatable {
    /// What the host has now.
    public var generation: Int

    public init(generation: Int) { self.generation = generation }
}
