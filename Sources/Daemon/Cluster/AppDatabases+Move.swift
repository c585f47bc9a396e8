import Control
import Foundation
import Logging
import Replication
import Storage
import Synchronization

// What a move needs of the databases: a warm copy on the host that the app goes to, and an end on the one that it leaves.
extension AppDatabases {
    /// Copies of an app's databases that follow their replica.
    struct WarmCopy: Sendable {
        let epoch: Int
        let folder: String
        /// By database, as its path below the data folder.
        var followers: [String: Followed]
    }

    struct Followed: Sendable {
        let replica: ReplicaLocation
        let path: String
        let follower: any ReplicaFollower
    }

    /// Begins to follow the databases that an app has under an epoch; returns when the copies have caught up once.
    ///
    /// More than `limit` databases are not followed; ``place(_:_:progress:)`` restores those.
    ///
    /// - Returns: how many are followed, and their size.
    func follow(_ app: ApplicationID, epoch: Int, limit: Int) async throws -> (databases: Int, bytes: Int) {
        do {
            if let running = following[app] {
                if running.epoch == epoch { return try await caughtUp(running) }
                await abandonFollow(app)
            }
            guard let record = try await begunRecord(of: app, epoch), !record.isDeletion else {
                return (0, 0)
            }
            let folder = folder.incoming(app.rawValue)
            try DatabaseFiles.removeFolder(folder)
            var copy = WarmCopy(epoch: epoch, folder: folder, followers: [:])
            for source in try await sources(of: app.rawValue, record, at: nil).prefix(limit) {
                let path = "\(folder)/\(source.name)"
                copy.followers[source.name] = Followed(
                    replica: source.replica,
                    path: path,
                    follower: try await replicator.follow(
                        source.replica,
                        to: path,
                        as: try nextReplica(app, copy, source.name)
                    )
                )
            }
            following[app] = copy
            return try await caughtUp(copy)
        } catch {
            await abandonFollow(app)
            throw Self.shown(error, "follow the databases of \(app)")
        }
    }

    /// The record of an epoch whose owner serves already and may be about to write it; else that of the newest before.
    private func begunRecord(of app: ApplicationID, _ epoch: Int) async throws -> EpochRecord? {
        let deadline = ContinuousClock.now + .seconds(10)
        while true {
            let record = try await EpochRecord.newest(app.rawValue, from: epoch, in: store)
            if record?.epoch == epoch || ContinuousClock.now > deadline { return record }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// Where the replica of a followed database goes on when the app comes here.
    private func nextReplica(_ app: ApplicationID, _ copy: WarmCopy, _ name: String) throws -> ReplicaLocation
    {
        try ReplicaLocation(app: app.rawValue, epoch: copy.epoch + 1, database: name)
    }

    private func caughtUp(_ copy: WarmCopy) async throws -> (databases: Int, bytes: Int) {
        var bytes = 0
        for followed in copy.followers.values {
            if let newest = try await replicator.newestPosition(of: followed.replica) {
                try await followed.follower.wait(for: newest, timeout: .seconds(600))
            }
            bytes += HostDaemon.fileBytes(followed.path)
            // So that little is left to be flushed when the app is here.
            try await blocking { try OpenFile(followed.path, flags: O_RDWR).synchronize() }
        }
        return (copy.followers.count, bytes)
    }

    /// Makes the warm copy of a database the database at `path`; nil where there is none that could be used.
    ///
    /// The one who wrote the replica has ended, so what it has now is all that it will have.
    func takeWarmCopy(
        _ source: Source,
        of app: ApplicationID,
        to path: String
    ) async throws -> RestoredDatabase? {
        guard let followed = following[app]?.followers.removeValue(forKey: source.name),
            followed.replica == source.replica
        else { return nil }
        do {
            guard let newest = try await replicator.newestPosition(of: source.replica) else { return nil }
            try await followed.follower.finish(at: newest, timeout: .seconds(20))
            try OpenFile(followed.path, flags: O_RDWR).synchronize()
            try FileSystem.makeFolders(DatabaseFiles(path: path).folder)
            try DatabaseFiles(path: path).removeAll()
            try FileSystem.rename(followed.path, to: path)
            try FileSystem.synchronizeFolder(of: path)
            let size = try OpenFile(path, flags: O_RDONLY).status().st_size
            return RestoredDatabase(
                path: path,
                point: RestorePoint(transaction: newest.transaction, time: Date()),
                sizeBytes: Int64(size)
            )
        } catch {
            logger.warning(
                "a warm copy could not be used; the database is restored",
                metadata: ["app": "\(app)", "database": "\(source.name)", "error": "\(error)"]
            )
            await followed.follower.cancel()
            return nil
        }
    }

    /// Stops to follow and removes the copies.
    func abandonFollow(_ app: ApplicationID) async {
        guard let copy = following.removeValue(forKey: app) else { return }
        for (name, followed) in copy.followers {
            await followed.follower.cancel()
            if let next = try? nextReplica(app, copy, name) { await replicator.abandonResume(next) }
        }
        // The next one that follows removes what is left.
        try? DatabaseFiles.removeFolder(copy.folder)
    }

    /// Gives an app up whose last worker has ended: all is brought to the replica, and the epoch is released in the store.
    ///
    /// The data stays where it is.
    ///
    /// - Returns: how far the replica of each database is.
    /// - Throws: ``MartletError`` with code `unavailable`; the app is this host's still then.
    func giveUp(_ app: ApplicationID, within limit: Duration) async throws -> [DatabasePosition] {
        let entry = try await replicated(app, within: limit)
        do {
            try await Ownership(app: app.rawValue, store: store).release(entry.claim)
        } catch {
            throw Self.shown(error, "give \(app) up")
        }
        // How far the replica is has been noted on the disk meanwhile, where the next placement looks for it.
        await entry.tail?.value
        let positions = entry.local.databases.sorted { $0.key < $1.key }.compactMap { name, known in
            // Without a file it was removed.
            known.inode == 0
                ? nil
                : known.transaction.map {
                    DatabasePosition(
                        database: name,
                        incarnation: known.incarnation,
                        transaction: $0,
                        bytes: HostDaemon.fileBytes("\(folder.data(app.rawValue))/\(name)")
                    )
                }
        }
        await forget(app)
        return positions
    }

    /// Who has an app, as the store knows it.
    func owner(of app: ApplicationID) async throws -> OwnerRecord? {
        do { return try await Ownership(app: app.rawValue, store: store).current() } catch {
            throw Self.shown(error, "look up who has \(app)")
        }
    }
}
