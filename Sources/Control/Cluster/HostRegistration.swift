/// How long a host may serve without a sign of life, and how soon that is noticed.
///
/// A host that dies serves again elsewhere after at most `heartbeat` (Temporal notices), `renewal` (nobody renews the
/// lease in the store either), `lease` and 2 % (it has surely stopped), and the time that its apps take to start.
public struct LeaseTerms: Codable, Sendable, Equatable {
    /// Without a sign of life for so long, Temporal ends the host's session, in milliseconds.
    public var heartbeatMilliseconds: Int
    /// How long a renewal of the lease in the store is good for, in milliseconds; it is renewed at a third of it.
    public var leaseMilliseconds: Int

    public init(heartbeatMilliseconds: Int, leaseMilliseconds: Int) {
        self.heartbeatMilliseconds = heartbeatMilliseconds
        self.leaseMilliseconds = leaseMilliseconds
    }

    public static let standard = LeaseTerms(heartbeatMilliseconds: 3000, leaseMilliseconds: 6000)
}

/// A host as it comes into the cluster: the input of the signal `register` of its workflow.
public struct HostRegistration: Codable, Sendable, Equatable {
    public var host: HostID
    /// A random text of the process: another one means that the host has been started anew.
    public var incarnation: String
    /// Where other hosts reach it.
    public var peer: HostAddress
    /// Where control reaches the host's own API, with the token that follows from the cluster's secret, as
    /// `http://127.0.0.1:8081`.
    public var api: String
    /// Where clients reach it.
    public var ingress: HostAddress
    /// What it can do in a second: a core is 1,000,000 (microseconds of CPU time).
    public var capacity: Int
    /// The term of its lease in the store.
    public var leaseTerm: Int
    public var lease: LeaseTerms
    /// Apps that it has, and under which epochs, as the store says; after a restart of its process.
    public var residents: [Resident]

    public struct Resident: Codable, Sendable, Equatable {
        public var app: ApplicationID
        public var epoch: Int

        public init(app: ApplicationID, epoch: Int) {
            self.app = app
            self.epoch = epoch
        }
    }

    public init(
        host: HostID,
        incarnation: String,
        peer: HostAddress,
        api: String,
        ingress: HostAddress,
        capacity: Int,
        leaseTerm: Int,
        lease: LeaseTerms,
        residents: [Resident]
    ) {
        self.host = host
        self.incarnation = incarnation
        self.peer = peer
        self.api = api
        self.ingress = ingress
        self.capacity = capacity
        self.leaseTerm = leaseTerm
        self.lease = lease
        self.residents = residents
    }
}

/// Where something listens.
public struct HostAddress: Codable, Sendable, Equatable, CustomStringConvertible {
    /// A numeric address.
    public var address: String
    public var port: UInt16

    public init(address: String, port: UInt16) {
        self.address = address
        self.port = port
    }

    public var description: String { address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }
}

/// Begins a host's session.
public struct SessionOrder: Codable, Sendable, Equatable {
    public var host: HostID
    /// A host that has been started anew since refuses with `stale_order`.
    public var incarnation: String
    public var lease: LeaseTerms

    public init(host: HostID, incarnation: String, lease: LeaseTerms) {
        self.host = host
        self.incarnation = incarnation
        self.lease = lease
    }
}

/// A sign of life of a host.
public struct SessionBeat: Codable, Sendable, Equatable {
    /// The generation of the routes that the host has.
    public var generation: Int
    /// Whether the host could renew its lease in the store of late.
    public var renewsLease: Bool

    public init(generation: Int, renewsLease: Bool) {
        self.generation = generation
        self.renewsLease = renewsLease
    }
}
