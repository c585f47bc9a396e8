package import FoundationEssentials
package import Storage

/// Where in the object store a database's replica is: a prefix that names the app's epoch and the database.
package struct ReplicaLocation: Sendable, Hashable, CustomStringConvertible {
    package let prefix: ObjectKey

    package init(prefix: ObjectKey) { self.prefix = prefix }

    /// The replica of one of an app's databases under an epoch: `apps/<app>/epochs/<epoch>/<database>`.
    ///
    /// `database`: the path below the app's data folder.
    /// `incarnation`: which of the databases that were made at that path under the epoch, from 1.
    package init(app: String, epoch: Int, database: String, incarnation: Int = 1) throws {
        let name = DatabaseName.encoded(database, incarnation: incarnation)
        prefix = try ObjectKey("\(Self.folder(app: app, epoch: epoch))\(name)")
    }

    /// What the keys of every replica of an app under an epoch start with.
    package static func folder(app: String, epoch: Int) -> String { "apps/\(app)/epochs/\(epoch)/" }

    package var description: String { prefix.path }
}

/// A database file on this host and the replica that it is streamed to.
package struct ReplicatedDatabase: Sendable, Hashable {
    /// The absolute path of the file.
    package let path: String
    package let replica: ReplicaLocation

    package init(path: String, replica: ReplicaLocation) {
        self.path = path
        self.replica = replica
    }
}

/// How far a replica is: everything up to this transaction is in the store.
package struct ReplicaPosition: Sendable, Hashable, Comparable {
    package let transaction: UInt64

    package init(transaction: UInt64) { self.transaction = transaction }

    package static func < (left: ReplicaPosition, right: ReplicaPosition) -> Bool {
        left.transaction < right.transaction
    }
}

/// Which state of a replica to restore.
package enum RestoreTarget: Sendable, Hashable {
    /// The newest, which must be all that the replica has: a gap is an error.
    case newest
    /// The state at a time: the last transaction that was replicated before it.
    case time(Date)
    /// The state after a transaction.
    case transaction(UInt64)
}

/// What a restore gave.
package struct RestoredDatabase: Sendable, Hashable {
    package let path: String
    package let point: RestorePoint
    package let sizeBytes: Int64

    package init(path: String, point: RestorePoint, sizeBytes: Int64) {
        self.path = path
        self.point = point
        self.sizeBytes = sizeBytes
    }
}

/// How far a restore is.
package struct RestoreProgress: Sendable, Hashable {
    package let doneBytes: Int64
    /// The size that the database will have.
    package let totalBytes: Int64

    package init(doneBytes: Int64, totalBytes: Int64) {
        self.doneBytes = doneBytes
        self.totalBytes = totalBytes
    }
}

/// Streams databases to an object store and brings them back.
///
/// The order that keeps a replica's chain whole: restore, continue under the new epoch, watch, open; then close,
/// release. All calls throw `ReplicationError`, and may be made at the same time for different databases.
package protocol Replicator: Sendable {
    /// Starts to replicate a database, and returns when all that was committed before is in the replica.
    ///
    /// Watching one that is watched already is no error.
    func watch(_ database: ReplicatedDatabase) async throws -> ReplicaPosition

    /// Returns when all that was committed to a watched database before the call is in the replica.
    ///
    /// - Throws: `unavailable` when that can't be said now; `superseded` when another writes to the replica.
    func sync(_ database: ReplicatedDatabase) async throws -> ReplicaPosition

    /// Replicates what is left and stops to watch. The app has closed the database before.
    func release(_ database: ReplicatedDatabase) async throws -> ReplicaPosition

    /// Stops to watch a database without replicating what is left; its file may be gone.
    func forget(_ database: ReplicatedDatabase) async throws

    /// Makes `path` the database that the replica holds, checked in full, with all that lay beside the old one removed.
    ///
    /// The database appears under its name only when it is complete and sound; until then what was there stays.
    ///
    /// - Throws: `noReplica` when there is none; `damaged` when it can't give a sound database.
    func restore(
        _ replica: ReplicaLocation,
        to path: String,
        at target: RestoreTarget,
        progress: @escaping @Sendable (RestoreProgress) -> Void
    ) async throws -> RestoredDatabase

    /// Goes on with a replica under another location, without sending the whole database again, and watches it.
    ///
    /// `database`: closed, in the state that `old` has at `position`, to be streamed to its new location.
    /// `position`: what was restored, or what `release` gave; what others may have added to `old` since is left out.
    func resume(
        _ database: ReplicatedDatabase,
        from old: ReplicaLocation,
        at position: ReplicaPosition
    ) async throws -> ReplicaPosition

    /// The first half of ``resume(_:from:at:)``: makes the database ready to be opened, so that what is written to it from
    /// then on goes on with its replica.
    func beginLog(of database: ReplicatedDatabase, at position: ReplicaPosition) async throws -> BegunLog

    /// The second half, for a database that may be in use already; when it fails it can be called again.
    func resume(
        _ database: ReplicatedDatabase,
        from old: ReplicaLocation,
        at position: ReplicaPosition,
        with log: BegunLog
    ) async throws -> ReplicaPosition

    /// Makes `path` a copy of the newest state and keeps it up to date until it is finished or cancelled.
    ///
    /// `next`: where the database will go on; what ``resume(_:from:at:)`` needs there is copied ahead.
    func follow(
        _ replica: ReplicaLocation,
        to path: String,
        as next: ReplicaLocation?
    ) async throws -> any ReplicaFollower

    /// How far a replica is, as the store has it; nil when there is none.
    func newestPosition(of replica: ReplicaLocation) async throws -> ReplicaPosition?

    /// The replicas below a prefix, such as those of an app's epoch, in the order of their keys.
    func replicas(below prefix: String) async throws -> [ReplicaLocation]
}

/// A copy of a database that follows its replica.
package protocol ReplicaFollower: Sendable {
    /// How far the copy is; nil before it is complete.
    ///
    /// Throws why it can't be followed any further.
    var position: ReplicaPosition? { get async throws }

    /// Waits until the copy has reached a position.
    func wait(for position: ReplicaPosition, timeout: Duration) async throws

    /// Stops following and leaves a database that can be opened, in the state of `position`, which is the replica's last.
    ///
    /// It is not flushed to the disk yet.
    func finish(at position: ReplicaPosition, timeout: Duration) async throws

    /// Stops following and removes the copy.
    func cancel() async
}
