import Control
import Foundation
import Logging
import Replication
import Storage

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
}
