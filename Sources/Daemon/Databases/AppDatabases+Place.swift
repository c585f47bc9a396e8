import Control
import Foundation
import Logging
import Replication
import Storage
import Synchronization

extension AppDatabases {
    /// Takes the app as ``PlacementPlan`` decides.
    func placeNow(
        _ app: ApplicationID,
        _ order: PlacementOrder,
        progress: @escaping @Sendable (RestoreProgress) -> Void
    ) async throws -> PlacementReport {
        do {
            let lease = try await requireLease()
            let ownership = try Ownership(app: app.rawValue, store: store)
            let owner = try await ownership.current()
            let (note, data) = (folder.placement(app.rawValue), folder.data(app.rawValue))
            let local = LocalPlacement.read(note)
            let plan = PlacementPlan.decide(
                owner: owner,
                local: local,
                hasData: FileManager.default.fileExists(atPath: data),
                holder: host.rawValue,
                store: store.location,
                orderedEpoch: order.epoch
            )
            try refuseUnlessOrdered(plan, order, app, owner)
            let begin = ContinuousClock.now
            var claimed = begin
            let restored: Restored
            let claim: Ownership.Claim
            switch plan {
            case .goOn(let epoch) where order.time == nil:
                claim = try await ownership.renew(epoch: epoch, under: lease, claim: UUID().uuidString)
                guard let record = try await EpochRecord.read(app.rawValue, epoch, in: store), let local
                else {
                    throw MartletError(
                        .dataDamaged,
                        "the record of epoch \(epoch) is not in \(store.location); the data here is untouched"
                    )
                }
                return adopt(app, claim, lease, record, local, Restored())
            case .begin where order.source == nil:
                claim = try await claimNext(app, ownership, lease, order, after: owner)
                claimed = .now
                restored = Restored()
                try beginReplicas(in: data)
            case .takeNext(let kept):
                claim = try await claimNext(app, ownership, lease, order, after: owner)
                claimed = .now
                restored = try await carryOn(app, from: kept, to: claim.epoch, local)
            case .begin:
                claim = try await claimNext(app, ownership, lease, order, after: owner)
                claimed = .now
                restored = try await restore(app, order, newest: 0, to: claim.epoch, progress: progress)
            case .goOn(let newest), .restore(let newest):
                claim = try await claimNext(app, ownership, lease, order, after: owner)
                claimed = .now
                restored = try await restore(app, order, newest: newest, to: claim.epoch, progress: progress)
            }
            try StateFolder.make(data, mode: 0o700)
            let record = EpochRecord(
                epoch: claim.epoch,
                host: host.rawValue,
                begunAt: Date(),
                origin: restored.origin
            )
            try await record.write(app.rawValue, to: store)
            var placement = LocalPlacement(epoch: claim.epoch, store: store.location)
            placement.databases = restored.databases
            try placement.write(note)
            var report = adopt(app, claim, lease, record, placement, restored)
            report.claimTime = claimed - begin
            report.restoreTime = .now - claimed
            return report
        } catch {
            throw Self.shown(error, "get the databases of \(app)")
        }
    }

    /// On a cluster a host goes on with what it has, and takes nothing that it was not told to take.
    private func refuseUnlessOrdered(
        _ plan: PlacementPlan,
        _ order: PlacementOrder,
        _ app: ApplicationID,
        _ owner: OwnerRecord?
    ) throws {
        guard !configuration.takesByItself, !order.isOrdered else { return }
        if case .goOn = plan { return }
        throw MartletError(
            .ownedElsewhere,
            owner.map { "\(app) is not this host's: \($0.holder) has it at epoch \($0.epoch)" }
                ?? "\(app) is not this host's: nobody has it",
            cause: OrderRefusal(epoch: owner?.epoch ?? 0, holder: owner.flatMap { HostID($0.holder) })
        )
    }

    private func adopt(
        _ app: ApplicationID,
        _ claim: Ownership.Claim,
        _ lease: Lease<ContinuousClock>,
        _ record: EpochRecord,
        _ local: LocalPlacement,
        _ restored: Restored
    ) -> PlacementReport {
        placed[app] = Placed(app: app, claim: claim, lease: lease, record: record, local: local)
        return PlacementReport(
            epoch: claim.epoch,
            databases: restored.count,
            bytes: restored.bytes
        )
    }

    private func claimNext(
        _ app: ApplicationID,
        _ ownership: Ownership,
        _ lease: Lease<ContinuousClock>,
        _ order: PlacementOrder,
        after owner: OwnerRecord?
    ) async throws -> Ownership.Claim {
        var ended = order.ended
        // Who owns it by the time of the claim is looked at again there.
        if let owner, !owner.isReleased, owner.holder != host.rawValue,
            ended[owner.holder] == nil, configuration.takesByItself
        {
            ended[owner.holder] = try await endIfDead(owner.holder, app)
        }
        let claim = try await ownership.claim(under: lease, ended: ended, claim: UUID().uuidString)
        if let wanted = order.epoch, claim.epoch != wanted {
            throw MartletError(
                .conflict,
                "epoch \(wanted) was ordered, but \(claim.epoch) is the next; another placement came between"
            )
        }
        return claim
    }

    /// Ends the lease of a host that does not renew it.
    ///
    /// - Returns: the term that is over.
    /// - Throws: `conflict` when the host lives.
    private func endIfDead(_ holder: String, _ app: ApplicationID) async throws -> Int? {
        // One look serves all apps of that host.
        if let running = ending[holder] { return try await running.value }
        let task = Task { try await self.endNow(holder, app) }
        ending[holder] = task
        defer { ending[holder] = nil }
        return try await task.value
    }

    private func endNow(_ holder: String, _ app: ApplicationID) async throws -> Int? {
        let record = StoredRecord<LeaseRecord>(key: try Lease<ContinuousClock>.key(of: holder), store: store)
        guard let before = try await record.read()?.value else { return nil }
        if before.isGivenBack || knownEnds[holder] == before.term { return before.term }
        if !before.isRevoked {
            logger.notice(
                "an app belongs to another host; waiting to see whether it lives",
                metadata: ["app": "\(app)", "owner": "\(holder)", "wait": "\(before.duration)"]
            )
            let deadline = ContinuousClock.now + before.duration
            while ContinuousClock.now < deadline {
                try await Task.sleep(for: min(.milliseconds(500), before.duration / 4))
                guard let now = try await record.read()?.value else { break }
                if now.isGivenBack { return now.term }
                guard now.term == before.term, now.renewals == before.renewals || now.isRevoked else {
                    throw MartletError(
                        .conflict,
                        "\(app) runs on host \(holder), which is alive; move it, or stop that host"
                    )
                }
            }
        }
        let term = try await Lease.revoke(holder: holder, store: store, clock: ContinuousClock())
        knownEnds[holder] = term
        return term
    }

    // MARK: - Data

    /// What the data folder holds after a placement.
    struct Restored: Sendable {
        var databases: [String: LocalPlacement.Database] = [:]
        var origin: EpochRecord.Origin?
        var count = 0
        var bytes: Int64 = 0
    }

    /// A database of an epoch, and where its replica is.
    struct Source: Sendable {
        let name: String
        let replica: ReplicaLocation
    }

    /// The data that is here was never in this store: its replicas begin with the first sync.
    private func beginReplicas(in data: String) throws {
        for database in DatabaseScanner().scan(data).databases {
            try DatabaseFiles.removeFolder(DatabaseFiles(path: "\(data)/\(database.name)").replicationFolder)
        }
    }

    /// Goes on under the next epoch with the data that is here, closed and replicated under `epoch`.
    private func carryOn(
        _ app: ApplicationID,
        from epoch: Int,
        to next: Int,
        _ local: LocalPlacement?
    ) async throws -> Restored {
        let data = folder.data(app.rawValue)
        var restored = Restored(origin: EpochRecord.Origin(app: app.rawValue, epoch: epoch))
        for (name, known) in local?.databases ?? [:] where known.inode != 0 {
            let old = try ReplicaLocation(
                app: app.rawValue,
                epoch: epoch,
                database: name,
                incarnation: known.incarnation
            )
            guard let transaction = known.transaction else {
                throw MartletError(
                    .conflict,
                    "\(name) of \(app) was not brought to the replica of epoch \(epoch)"
                )
            }
            try await continueReplica(
                "\(data)/\(name)",
                app,
                name,
                from: old,
                at: ReplicaPosition(transaction: transaction),
                epoch: next
            )
            restored.databases[name] = try Self.known("\(data)/\(name)")
        }
        return restored
    }

    /// Makes the data folder anew from the replica.
    private func restore(
        _ app: ApplicationID,
        _ order: PlacementOrder,
        newest: Int,
        to epoch: Int,
        progress: @escaping @Sendable (RestoreProgress) -> Void
    ) async throws -> Restored {
        let data = folder.data(app.rawValue)
        let (source, wanted) = (order.source ?? app, order.from ?? newest)
        let record: EpochRecord?
        if let time = order.time {
            record = try await epochRecord(of: source, at: time, newest: wanted)
        } else {
            record = try await EpochRecord.newest(source.rawValue, from: wanted, in: store)
        }
        guard let record, !record.isDeletion else {
            try setAside(data, app)
            return Restored()
        }
        let origin = EpochRecord.Origin(app: source.rawValue, epoch: record.epoch, time: order.time)
        return try await restore(record, origin, into: data, as: app, epoch: epoch, progress: progress)
    }

    /// Data of an earlier placement may hold writes that never reached the replica: it is kept until the next time.
    func setAside(_ data: String, _ app: ApplicationID) throws {
        let names = try FileSystem.names(in: data)
        guard !names.isEmpty else { return }
        let old = folder.superseded(app.rawValue)
        try DatabaseFiles.removeFolder(old)
        try FileSystem.rename(data, to: old)
        logger.notice(
            "data of an earlier placement was set aside",
            metadata: ["app": "\(app)", "folder": "\(old)"]
        )
    }

    /// Restores the databases of an epoch into a folder and lets their replicas go on under another epoch.
    func restore(
        _ record: EpochRecord,
        _ origin: EpochRecord.Origin,
        into data: String,
        as app: ApplicationID,
        epoch: Int,
        progress: @escaping @Sendable (RestoreProgress) -> Void
    ) async throws -> Restored {
        let sources = try await sources(of: origin.app, record, at: origin.time)
        let sum = ProgressSum(progress)
        let found = Mutex<[(source: Source, result: RestoredDatabase)]>([])
        // Beside what is there, which stays until everything is there.
        let staging = folder.stagingPath()
        defer {
            // The next start of the daemon would remove it too.
            try? FileManager.default.removeItem(atPath: staging)
        }
        try StateFolder.make(staging, mode: 0o700)
        try await forEachConcurrently(sources, width: 4) { [replicator] source in
            let path = "\(staging)/\(source.name)"
            let result: RestoredDatabase
            do {
                if origin.time == nil, let warm = try await self.takeWarmCopy(source, of: app, to: path) {
                    result = warm
                } else {
                    result = try await replicator.restore(
                        source.replica,
                        to: path,
                        at: origin.time.map(RestoreTarget.time) ?? .newest
                    ) { sum.update(source.name, $0) }
                }
            } catch let error as ReplicationError where error.code == .noReplica && origin.time != nil {
                return  // It was made after that time.
            }
            found.withLock { $0.append((source, result)) }
        }
        let all = found.withLock { $0 }
        if let time = origin.time, all.isEmpty, !sources.isEmpty {
            throw MartletError(
                .notFound,
                "\(origin.app) has no state of \(JSONFormat.time(time)): its oldest is newer than that"
            )
        }
        try setAside(data, app)
        try StateFolder.make(folder.app(app.rawValue), mode: 0o711)
        try DatabaseFiles.removeFolder(data)
        try StateFolder.move(staging, to: data)
        let restored = Mutex(Restored(origin: origin))
        try await forEachConcurrently(all, width: 8) { source, result in
            let path = "\(data)/\(source.name)"
            try await self.continueReplica(
                path,
                app,
                source.name,
                from: source.replica,
                at: ReplicaPosition(transaction: result.point.transaction),
                epoch: epoch
            )
            let known = try Self.known(path)
            restored.withLock {
                $0.databases[source.name] = known
                $0.count += 1
                $0.bytes += result.sizeBytes
            }
        }
        return restored.withLock { $0 }
    }

    /// The databases that the app had when an epoch ended, or at a time in it.
    func sources(of app: String, _ record: EpochRecord, at time: Date?) async throws -> [Source] {
        let prefix = ReplicaLocation.folder(app: app, epoch: record.epoch)
        var newest: [String: (incarnation: Int, replica: ReplicaLocation)] = [:]
        for replica in try await replicator.replicas(below: prefix) {
            let folder = String(replica.prefix.path.dropFirst(prefix.count))
            guard let (name, incarnation) = DatabaseName.decodedIncarnation(folder) else { continue }
            if let removed = record.removed[folder], time.map({ removed <= $0 }) ?? true { continue }
            if let other = newest[name], other.incarnation > incarnation { continue }
            newest[name] = (incarnation, replica)
        }
        return newest.map { Source(name: $0.key, replica: $0.value.replica) }.sorted { $0.name < $1.name }
    }

    private func continueReplica(
        _ path: String,
        _ app: ApplicationID,
        _ name: String,
        from old: ReplicaLocation,
        at position: ReplicaPosition,
        epoch: Int
    ) async throws {
        let replica = try ReplicaLocation(app: app.rawValue, epoch: epoch, database: name)
        let database = ReplicatedDatabase(path: path, replica: replica)
        _ = try await replicator.resume(database, from: old, at: position)
        _ = try await replicator.release(database)
    }

    /// The epoch in which the app was at a time.
    func epochRecord(of app: ApplicationID, at time: Date, newest: Int) async throws -> EpochRecord? {
        var candidate = newest
        while candidate > 0 {
            if let record = try await EpochRecord.read(app.rawValue, candidate, in: store),
                record.begunAt <= time
            {
                return record
            }
            candidate -= 1
        }
        throw MartletError(
            .notFound,
            "\(app) has no state of \(JSONFormat.time(time)): it did not exist, or its history does not reach back so far"
        )
    }

    static func known(_ path: String) throws -> LocalPlacement.Database {
        let status = try OpenFile(path, flags: O_RDONLY).status()
        return LocalPlacement.Database(incarnation: 1, inode: UInt64(status.st_ino))
    }
}

/// Adds up the progress of restores that run at the same time.
private final class ProgressSum: Sendable {
    private let parts = Mutex<[String: RestoreProgress]>([:])
    private let report: @Sendable (RestoreProgress) -> Void

    init(_ report: @escaping @Sendable (RestoreProgress) -> Void) { self.report = report }

    func update(_ name: String, _ progress: RestoreProgress) {
        let sum = parts.withLock { parts in
            parts[name] = progress
            return RestoreProgress(
                doneBytes: parts.values.reduce(0) { $0 + $1.doneBytes },
                totalBytes: parts.values.reduce(0) { $0 + $1.totalBytes }
            )
        }
        report(sum)
    }
}
