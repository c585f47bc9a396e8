public import ClusterContract
public import Foundation

/// How a host takes part in a cluster.
public struct ClusterConfiguration: Sendable {
    /// Where other hosts reach this one.
    public var listener: HostConfiguration.Listener
    /// Where they are told that it is, where that differs from the listener's address, such as behind a bridge.
    public var advertisedHost: String?
    /// What the hosts of the cluster share.
    public var secret: ClusterSecret
    /// Secrets that others may still send, while a new one is brought to all.
    public var acceptedSecrets: [ClusterSecret] = []
    /// With it, hosts speak to each other with TLS, and only to those whose certificate the authority has signed.
    public var tls: PeerCertificate?
    public var peers = PeerLimits()
    public var moves = MoveLimits()
    /// How often held requests for other hosts are tried again, and newer routes are looked for.
    public var retryInterval = Duration.milliseconds(250)
    public var gossipInterval = Duration.seconds(5)
    /// How often what the apps used is counted.
    public var statisticsInterval = Duration.seconds(5)

    public init(listener: HostConfiguration.Listener, secret: ClusterSecret) {
        self.listener = listener
        self.secret = secret
    }
}

/// What a host shows to other hosts, and whom it believes; PEM files that are read again when they change.
public struct PeerCertificate: Sendable, Equatable {
    /// The certificate with the chain behind it; its names do not matter.
    public var chain: URL
    public var key: URL
    /// The certificates of the authority that signs those of the hosts, and nobody else's.
    public var authority: URL
    /// How often the files are looked at for changes.
    public var reloadInterval = Duration.seconds(10)

    public init(chain: URL, key: URL, authority: URL) {
        self.chain = chain
        self.key = key
        self.authority = authority
    }
}

/// How long the parts of a move may take on this host.
public struct MoveLimits: Sendable {
    /// Running requests of the app that leaves.
    public var drain = Duration.seconds(20)
    /// The last sync.
    public var settle = Duration.seconds(20)
    /// The warm copy's way to the last transaction.
    public var catchUp = Duration.seconds(20)
    /// Databases of one app that are followed at once; others are restored when the app comes.
    public var followedDatabases = 8
    /// How long an app whose requests are held waits for the next order before the host goes on with it by itself.
    public var patience = Duration.seconds(45)

    public init() {}
}
