package import Storage

/// The object store of a host: where its apps' databases and artifacts are kept beside the host itself.
package struct HostStore: Sendable {
    package var address: StoreAddress
    /// Litestream's program.
    package var litestream: String
    /// Whether it survives the machine.
    ///
    /// Then answers wait for the replica unless an app's settings say otherwise.
    package var isRemote: Bool
    /// Whether the host itself keeps in the store which apps there are, so that an empty host gets them back.
    ///
    /// On a cluster the workflows know that.
    package var keepsApplications = true
    /// Whether the host takes apps by itself that nobody has, or whose host is dead.
    ///
    /// On a cluster it takes none without an order.
    package var takesByItself = true
    /// How long the store may be out of reach before the host may no longer act; who takes over waits as long.
    package var leaseDuration = Duration.seconds(30)
    package var leaseMargin = Duration.seconds(2)
    /// How long a sync may take before the answers that wait for it are refused.
    package var syncTimeout = Duration.seconds(10)
    /// For how long states of the past, and the replicas of deleted apps, are kept.
    package var retention = Duration.seconds(30 * 24 * 3600)
    /// How often the replica of each awake app is restored to see that it can be; nil for never.
    package var provingInterval: Duration? = .seconds(6 * 3600)

    package init(address: StoreAddress, litestream: String, isRemote: Bool) {
        self.address = address
        self.litestream = litestream
        self.isRemote = isRemote
    }
}
