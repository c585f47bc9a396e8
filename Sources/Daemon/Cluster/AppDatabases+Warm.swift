import Control
import Foundation
import Logging
import Replication
import Storage

// The quick way of a move: an app whose databases were followed is served as soon as they are at their last transaction, and
// its replica goes on beside that.
//
// ```
//   claim epoch N+1 ─┐
//                    ├─► files in place, logs begun ─► placed ─► the worker starts
//   finish copies ───┘                                   └─► replica of N+1 complete ─► record of N+1, note ─► streamed
// ```
// Until the record of N+1 is in the store, N holds the app's data: who restores it meanwhile gets what N ended with. No
// answer that waits for the replica passes before it, so nothing that was confirmed is missing there.
extension AppDatabases {
    /// A database that is in place, and whose replica is still to go on.
    struct Continued: Sendable {
        let name: String
        let database: ReplicatedDatabase
        let from: ReplicaLocation
        let position: ReplicaPosition
        let log: BegunLog
        let inode: UInt64
    }

    /// Makes an app this host's that has followed it, with its databases where their last owner left them.
    ///
    /// - Returns: nil when the copies are not of these databases; ``place(_:_:progress:)`` gets them then.
    /// - Throws: ``MartletError``: `conflict` when another host has the app.
    func placeWarm(
        _ app: ApplicationID,
        from epoch: Int,
        at positions: [DatabasePosition],
        ended: [String: Int]
    ) async throws -> PlacementReport? {
        guard placed[app] == nil, placing[app] == nil, let copy = following[app], copy.epoch == epoch,
            try isCopy(copy, of: app, at: positions)
        else { return nil }
        // Shared with those who ask meanwhile, as other placements are.
        let task = Task { try await self.placeNow(app, copy, positions, ended) }
        placing[app] = task
        defer { placing[app] = nil }
        do { return try await task.value } catch { throw Self.shown(error, "get the databases of \(app)") }
    }

    private func isCopy(
        _ copy: WarmCopy,
        of app: ApplicationID,
        at positions: [DatabasePosition]
    ) throws -> Bool {
        guard copy.followers.count == positions.count else { return false }
        return try positions.allSatisfy { position in
            try copy.followers[position.database]?.replica
                == ReplicaLocation(
                    app: app.rawValue,
                    epoch: copy.epoch,
                    database: position.database,
                    incarnation: position.incarnation
                )
        }
    }

    private func placeNow(
        _ app: ApplicationID,
        _ copy: WarmCopy,
        _ positions: [DatabasePosition],
        _ ended: [String: Int]
    ) async throws -> PlacementReport {
        let lease = try await requireLease()
        let ownership = try Ownership(app: app.rawValue, store: store)
        let begin = ContinuousClock.now
        // Both at once: what was finished for an epoch that could not be had is thrown away.
        async let claiming = Self.timed {
            try await ownership.claim(under: lease, ended: ended, claim: UUID().uuidString)
        }
        async let finished: Void = forEachConcurrently(positions, width: 8) { position in
            try await copy.followers[position.database]?.follower.finish(
                at: ReplicaPosition(transaction: position.transaction),
                timeout: .seconds(20)
            )
        }
        let (claim, claimTime) = try await claiming
        try await finished
        following[app] = nil
        var (report, pieces) = try await takeFiles(app, copy, positions, epoch: claim.epoch)
        report.claimTime = claimTime
        report.restoreTime = max(.zero, .now - begin - claimTime)
        let record = EpochRecord(
            epoch: claim.epoch,
            host: host.rawValue,
            begunAt: Date(),
            origin: EpochRecord.Origin(app: app.rawValue, epoch: copy.epoch)
        )
        var local = LocalPlacement(epoch: claim.epoch, store: store.location)
        for piece in pieces {
            local.databases[piece.name] = LocalPlacement.Database(incarnation: 1, inode: piece.inode)
        }
        let entry = Placed(app: app, claim: claim, lease: lease, record: record, local: local)
        entry.isContinuing = true
        entry.isFlushed = false
        placed[app] = entry
        // Before any worker's databases are looked at: their streams go on where these end.
        enqueue(entry) { [pieces] in await self.goOn(entry, with: pieces) }
        return report
    }

    private static func timed<Result: Sendable>(
        _ body: @Sendable () async throws -> Result
    ) async throws -> (Result, Duration) {
        let begin = ContinuousClock.now
        return (try await body(), .now - begin)
    }

    /// Puts the finished copies where the app expects them.
    private func takeFiles(
        _ app: ApplicationID,
        _ copy: WarmCopy,
        _ positions: [DatabasePosition],
        epoch: Int
    ) async throws -> (PlacementReport, [Continued]) {
        let data = folder.data(app.rawValue)
        try setAside(data, app)
        try StateFolder.make(folder.app(app.rawValue), mode: 0o711)
        try StateFolder.make(data, mode: 0o700)
        var report = PlacementReport(epoch: epoch)
        var pieces: [Continued] = []
        for position in positions {
            guard let followed = copy.followers[position.database] else { continue }
            let path = "\(data)/\(position.database)"
            try FileSystem.makeFolders(DatabaseFiles(path: path).folder)
            try FileSystem.rename(followed.path, to: path)
            let end = ReplicaPosition(transaction: position.transaction)
            let database = ReplicatedDatabase(
                path: path,
                replica: try ReplicaLocation(app: app.rawValue, epoch: epoch, database: position.database)
            )
            let log = try await replicator.beginLog(of: database, at: end)
            let status = try OpenFile(path, flags: O_RDONLY).status()
            pieces.append(
                Continued(
                    name: position.database,
                    database: database,
                    from: followed.replica,
                    position: end,
                    log: log,
                    inode: UInt64(status.st_ino)
                )
            )
            report.databases += 1
            report.bytes += Int64(status.st_size)
        }
        return (report, pieces)
    }

    /// Completes the replica of the new epoch, and begins to stream the databases to it.
    ///
    /// It is tried until it works, or until the app is not this host's any more.
    private func goOn(_ entry: Placed, with pieces: [Continued]) async {
        var pause = Duration.milliseconds(50)
        while placed[entry.app] === entry {
            do {
                try await continueReplicas(entry, pieces)
                for piece in pieces where placed[entry.app] === entry {
                    entry.streamed[piece.name] = Streamed(database: piece.database, inode: piece.inode)
                    entry.gate?.add(piece.name, piece.database)
                }
                entry.isContinuing = false
                // Behind what watches the folder, for which answers wait.
                enqueue(entry) { [pieces] in await self.noteWhole(entry, pieces) }
                return
            } catch let error as ReplicationError where error.code == .superseded {
                return await fence(entry.app, because: error.message)
            } catch {
                logger.warning(
                    "the replica of an app that has moved does not go on yet",
                    metadata: ["app": "\(entry.app)", "error": "\(error)"]
                )
            }
            if isStopping { return }
            // Cancelled only when the host stops, which the loop sees.
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(2))
        }
    }

    private func continueReplicas(_ entry: Placed, _ pieces: [Continued]) async throws {
        try await forEachConcurrently(pieces, width: 8) { [replicator] piece in
            _ = try await replicator.resume(
                piece.database,
                from: piece.from,
                at: piece.position,
                with: piece.log
            )
        }
        try await entry.record.write(entry.app.rawValue, to: store)
    }

    /// Notes that the data here is whole, also after the machine has lost its power.
    ///
    /// Without the note, which a crash before this leaves, the data comes from the replica, where all is that was confirmed.
    private func noteWhole(_ entry: Placed, _ pieces: [Continued]) async {
        guard placed[entry.app] === entry else { return }
        do {
            try await blocking {
                for piece in pieces {
                    try OpenFile(piece.database.path, flags: O_RDWR).synchronize()
                    try FileSystem.synchronizeFolder(of: piece.database.path)
                }
            }
            entry.isFlushed = true
            guard placed[entry.app] === entry else { return }
            try note(entry)
        } catch {
            logger.error(
                "a placement was not noted",
                metadata: ["app": "\(entry.app)", "error": "\(error)"]
            )
        }
        // It was not woken, or could not be.
        if entry.workers == 0 { await settle(entry, until: nil) }
    }
}
