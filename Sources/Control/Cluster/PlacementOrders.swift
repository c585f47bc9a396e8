/// An app as a host needs it to run it.
public struct ApplicationSpecification: Codable, Sendable, Equatable {
    public var app: ApplicationID
    public var owner: UserID
    /// Names the artifact too: ``ClusterNames/artifact(_:)``.
    public var version: VersionID
    public var artifactBytes: Int
    /// Over those of the settings.
    public var environment: [SealedVariable]

    public init(
        app: ApplicationID,
        owner: UserID,
        version: VersionID,
        artifactBytes: Int,
        environment: [SealedVariable]
    ) {
        self.app = app
        self.owner = owner
        self.version = version
        self.artifactBytes = artifactBytes
        self.environment = environment
    }
}

/// A variable of an app whose value only those who have the cluster's secret can read.
public struct SealedVariable: Codable, Sendable, Equatable {
    public var name: String
    public var isSecret: Bool
    /// The sealed value in base 64.
    public var sealed: String

    public init(name: String, isSecret: Bool, sealed: String) {
        self.name = name
        self.isSecret = isSecret
        self.sealed = sealed
    }
}

/// How far a database's replica was when its writer closed it.
public struct DatabasePosition: Codable, Sendable, Equatable {
    /// Its path in the app's data folder.
    public var database: String
    /// Which of the databases that were made at that path under the epoch, from 1.
    public var incarnation: Int
    /// The replica's last transaction.
    public var transaction: UInt64
    public var bytes: Int

    public init(database: String, incarnation: Int, transaction: UInt64, bytes: Int) {
        self.database = database
        self.incarnation = incarnation
        self.transaction = transaction
        self.bytes = bytes
    }
}

/// Brings a version to a host.
public struct PrepareOrder: ApplicationOrder {
    public var specification: ApplicationSpecification
    public var number: Int
    public var app: ApplicationID { specification.app }

    public init(specification: ApplicationSpecification, number: Int) {
        self.specification = specification
        self.number = number
    }
}

/// What ``HostOrders/prepare(_:)`` did.
public struct PrepareReport: Codable, Sendable, Equatable {
    /// Downloaded; 0 where it was there.
    public var bytes: Int
    public var milliseconds: Int
    /// Of which the installation of dependencies took this.
    public var resolveMilliseconds: Int

    public init(bytes: Int, milliseconds: Int, resolveMilliseconds: Int = 0) {
        self.bytes = bytes
        self.milliseconds = milliseconds
        self.resolveMilliseconds = resolveMilliseconds
    }
}

/// Has a host follow the databases of an app that another host writes.
public struct FollowOrder: ApplicationOrder {
    public var app: ApplicationID
    public var number: Int
    /// The epoch whose replica is followed.
    public var fromEpoch: Int

    public init(app: ApplicationID, number: Int, fromEpoch: Int) {
        self.app = app
        self.number = number
        self.fromEpoch = fromEpoch
    }
}

/// What ``HostOrders/follow(_:)`` copied until it had caught up.
public struct FollowReport: Codable, Sendable, Equatable {
    public var databases: Int
    public var bytes: Int
    public var milliseconds: Int

    public init(databases: Int, bytes: Int, milliseconds: Int) {
        self.databases = databases
        self.bytes = bytes
        self.milliseconds = milliseconds
    }
}

/// Has a host stop serving an app, without losing a request or a row.
public struct QuiesceOrder: ApplicationOrder {
    public var app: ApplicationID
    public var number: Int
    /// The epoch that ends.
    public var epoch: Int
    /// How long running requests may go on, in milliseconds.
    public var drainMilliseconds: Int
    /// A host that hears neither ``HostOrders/handOver(_:)`` nor ``HostOrders/resume(_:)`` for so long claims the app's
    /// next epoch for itself and serves again, in milliseconds; when another host has claimed it, requests go there.
    public var patienceMilliseconds: Int

    public init(
        app: ApplicationID,
        number: Int,
        epoch: Int,
        drainMilliseconds: Int,
        patienceMilliseconds: Int
    ) {
        self.app = app
        self.number = number
        self.epoch = epoch
        self.drainMilliseconds = drainMilliseconds
        self.patienceMilliseconds = patienceMilliseconds
    }
}

/// What ``HostOrders/quiesce(_:)`` ended, and how long each part took.
public struct QuiesceReport: Codable, Sendable, Equatable {
    public var positions: [DatabasePosition]
    /// Requests that are held at the end.
    public var held: Int
    /// WebSockets that were told to connect again.
    public var closedSockets: Int
    public var drainMilliseconds: Int
    public var closeMilliseconds: Int
    public var syncMilliseconds: Int
    /// Whether the app had a worker, so that the new host wakes it.
    public var wasAwake: Bool

    public init(
        positions: [DatabasePosition],
        held: Int,
        closedSockets: Int,
        drainMilliseconds: Int,
        closeMilliseconds: Int,
        syncMilliseconds: Int,
        wasAwake: Bool
    ) {
        self.positions = positions
        self.held = held
        self.closedSockets = closedSockets
        self.drainMilliseconds = drainMilliseconds
        self.closeMilliseconds = closeMilliseconds
        self.syncMilliseconds = syncMilliseconds
        self.wasAwake = wasAwake
    }
}

/// Gives an app to a host.
public struct AdoptOrder: ApplicationOrder {
    public enum Cause: String, Codable, Sendable {
        /// The app was nowhere before.
        case first
        /// Its old host has given it up.
        case move
        /// Its old host is lost.
        case failover
    }

    public var specification: ApplicationSpecification
    public var number: Int
    /// The least epoch to claim; a claim by this host at this or a later epoch means that the order is repeated.
    public var epoch: Int
    /// The epoch to restore from; nil when the app has no replica.
    ///
    /// When the store names a later one, that one counts.
    public var fromEpoch: Int?
    public var cause: Cause
    /// Terms of leases, by host, that are revoked and waited out.
    public var endedTerms: [String: Int]
    /// Whether a worker is started at once.
    public var isAwake: Bool
    /// How far the replicas of `fromEpoch` are, by the host that closed them; nil when nobody can say.
    public var positions: [DatabasePosition]?
    public var app: ApplicationID { specification.app }

    public init(
        specification: ApplicationSpecification,
        number: Int,
        epoch: Int,
        fromEpoch: Int?,
        cause: Cause,
        endedTerms: [String: Int] = [:],
        isAwake: Bool,
        positions: [DatabasePosition]? = nil
    ) {
        self.specification = specification
        self.number = number
        self.epoch = epoch
        self.fromEpoch = fromEpoch
        self.cause = cause
        self.endedTerms = endedTerms
        self.isAwake = isAwake
        self.positions = positions
    }
}

/// How ``HostOrders/adopt(_:)`` or ``HostOrders/resume(_:)`` brought an app into service.
public struct AdoptReport: Codable, Sendable, Equatable {
    /// The epoch that was claimed.
    public var epoch: Int
    public var databases: Int
    /// Restored from the replica, what followed before included.
    public var bytes: Int
    public var claimMilliseconds: Int
    public var restoreMilliseconds: Int
    /// 0 when it was left asleep.
    public var startMilliseconds: Int

    public init(
        epoch: Int,
        databases: Int,
        bytes: Int,
        claimMilliseconds: Int,
        restoreMilliseconds: Int,
        startMilliseconds: Int
    ) {
        self.epoch = epoch
        self.databases = databases
        self.bytes = bytes
        self.claimMilliseconds = claimMilliseconds
        self.restoreMilliseconds = restoreMilliseconds
        self.startMilliseconds = startMilliseconds
    }
}

/// Tells an app's old host who has it now.
public struct HandOverOrder: ApplicationOrder {
    public var app: ApplicationID
    public var number: Int
    /// Who serves the app now.
    public var host: RouteHost
    /// The epoch under which it does.
    public var epoch: Int

    public init(app: ApplicationID, number: Int, host: RouteHost, epoch: Int) {
        self.app = app
        self.number = number
        self.host = host
        self.epoch = epoch
    }
}

/// What became of the requests that ``HostOrders/quiesce(_:)`` held.
public struct HandOverReport: Codable, Sendable, Equatable {
    /// Held requests that were sent on.
    public var released: Int
    /// How long the one that waited longest had waited, in milliseconds.
    public var longestHoldMilliseconds: Int

    public init(released: Int, longestHoldMilliseconds: Int) {
        self.released = released
        self.longestHoldMilliseconds = longestHoldMilliseconds
    }
}

/// Has the old host give an app to another one, in one go: ``HostOrders/quiesce(_:)`` there,
/// ``HostOrders/adopt(_:)`` on the new host, which the old one asks, and ``HostOrders/handOver(_:)``.
public struct CutOverOrder: ApplicationOrder {
    public var quiesce: QuiesceOrder
    /// With the number after that of `quiesce`; what only the old host knows is filled in there.
    public var adopt: AdoptOrder
    /// The new host.
    public var host: RouteHost
    public var app: ApplicationID { quiesce.app }
    public var number: Int { quiesce.number }

    public init(quiesce: QuiesceOrder, adopt: AdoptOrder, host: RouteHost) {
        self.quiesce = quiesce
        self.adopt = adopt
        self.host = host
    }
}

/// What ``HostOrders/cutOver(_:)`` did.
public struct CutOverReport: Codable, Sendable, Equatable {
    public var quiesce: QuiesceReport
    public var adopt: AdoptReport
    public var handOver: HandOverReport
    /// From the order to the release of the requests that were held, in milliseconds.
    public var milliseconds: Int

    public init(quiesce: QuiesceReport, adopt: AdoptReport, handOver: HandOverReport, milliseconds: Int) {
        self.quiesce = quiesce
        self.adopt = adopt
        self.handOver = handOver
        self.milliseconds = milliseconds
    }
}

/// Has the old host go on with an app.
public struct ResumeOrder: ApplicationOrder {
    public var app: ApplicationID
    public var number: Int
    /// The least epoch to claim.
    public var epoch: Int
    /// Terms of leases, by host, that are revoked and waited out.
    public var endedTerms: [String: Int]

    public init(app: ApplicationID, number: Int, epoch: Int, endedTerms: [String: Int] = [:]) {
        self.app = app
        self.number = number
        self.epoch = epoch
        self.endedTerms = endedTerms
    }
}

/// Has a host forget an app that it was preparing.
public struct AbandonOrder: ApplicationOrder {
    public var app: ApplicationID
    public var number: Int

    public init(app: ApplicationID, number: Int) {
        self.app = app
        self.number = number
    }
}

/// Takes what is left of an app off a host.
public struct RemoveOrder: ApplicationOrder {
    public var app: ApplicationID
    public var number: Int
    /// Whether the replica in the store stays: as it does after a move, but not when the app is deleted.
    public var keepsReplica: Bool

    public init(app: ApplicationID, number: Int, keepsReplica: Bool) {
        self.app = app
        self.number = number
        self.keepsReplica = keepsReplica
    }
}

/// What ``HostOrders/remove(_:)`` freed on the host's disk.
public struct RemoveReport: Codable, Sendable, Equatable {
    public var bytes: Int

    public init(bytes: Int) { self.bytes = bytes }
}
