import ClusterContract
import Control
import Foundation
import Temporal

extension ApplicationWorkflow {
    /// A planned move: the app is served throughout, except during `cutOver`, when requests are held.
    func move(_ decision: PlacementDecision, id: String) async throws -> OperationResult {
        guard let placement = state.placement, state.version != nil else {
            await tellSlicer(SlicerWorkflow.gone, state.app)
            throw MartletError(.notFound, "\(state.app) is not placed, so it cannot move")
        }
        let (old, new) = (placement.host, decision.destination)
        let record = OperationRecord(
            id: id,
            kind: .move,
            reason: decision.reason,
            from: old.id,
            to: new.id,
            version: state.version,
            startedAt: context.now
        )
        guard old.id != new.id else {
            await tellPlaced(isAwake: true)
            return OperationResult(operation: record)
        }
        do {
            return try await recorded(record) {
                let specification = state.specification(try current())
                do {
                    try await prepare(specification, on: new.id, id: id)
                    try await follow(from: placement.epoch, on: new.id, id: id)
                } catch {
                    await abandon(on: new.id, id: id)
                    throw error
                }
                let (report, failure) = try await cutOver(specification, from: placement, to: new, id: id)
                if let failure { throw failure }
                await tellPlaced(isAwake: report.startMilliseconds > 0)
                await remove(from: old.id, id: id)
                return OperationResult(operation: record)
            }
        } catch {
            if let placement = state.placement {
                let news = PlacementNews(
                    app: state.app,
                    host: placement.host.id,
                    epoch: placement.epoch,
                    isAwake: true
                )
                await tellSlicer(SlicerWorkflow.stayed, news)
            }
            throw error
        }
    }

    /// From the moment when the old host stops to the moment when one of the two serves.
    ///
    /// Returns the report of the host that serves, and why the move did not take place if it did not.
    private func cutOver(
        _ specification: ApplicationSpecification,
        from placement: ApplicationMemory.Placement,
        to new: RouteHost,
        id: String
    ) async throws -> (AdoptReport, MartletError?) {
        let old = placement.host
        var adoption = AdoptOrder(
            specification: specification,
            number: 0,
            epoch: placement.epoch + 1,
            fromEpoch: placement.epoch,
            cause: .move,
            isAwake: true
        )
        do {
            let quiesce = QuiesceOrder(
                app: state.app,
                number: state.nextOrder(),
                epoch: placement.epoch,
                drainMilliseconds: timing.drain,
                patienceMilliseconds: timing.patience
            )
            adoption.number = state.nextOrder()
            adoption.endedTerms = state.endedTerms
            let report = try await order(
                HostActivities.cutOver,
                on: old.id,
                of: id,
                takes: timing.long,
                attempts: 1,
                CutOverOrder(quiesce: quiesce, adopt: adoption, host: new)
            ) { Self.summary($0) }
            place(on: new, epoch: report.adopt.epoch)
            return (report.adopt, nil)
        } catch {
            let failure = OrderFailure.error(from: error, while: "move \(state.app)")
            let report = try await settle(adoption, old: old, new: new, id: id)
            if state.placement?.host.id == new.id {
                // The old host may not know.
                await handOver(from: old.id, id: id)
                return (report, nil)
            }
            await abandon(on: new.id, id: id)
            return (report, failure)
        }
    }

    /// Brings an app back into service of which it is not known who has it: by the old host if it can, else by the new one,
    /// as the store decides.
    private func settle(
        _ adoption: AdoptOrder,
        old: RouteHost,
        new: RouteHost,
        id: String
    ) async throws -> AdoptReport {
        var adoption = adoption
        var pause = Duration.milliseconds(timing.retry)
        while true {
            let resumption = ResumeOrder(
                app: state.app,
                number: state.nextOrder(),
                epoch: adoption.epoch,
                endedTerms: state.endedTerms
            )
            do {
                let report = try await order(
                    HostActivities.resume,
                    on: old.id,
                    of: id,
                    takes: timing.long,
                    attempts: 1,
                    resumption,
                    summary: Self.summary
                )
                place(on: old, epoch: report.epoch)
                return report
            } catch let error as MartletError {
                let isLost = state.endedTerms[old.id.rawValue] != nil && error.code == .timeout
                let holder = (error.cause as? OrderRefusal)?.holder
                if holder == new.id || isLost {
                    adoption.number = state.nextOrder()
                    adoption.endedTerms = state.endedTerms
                    if isLost { adoption.cause = .failover }
                    if let report = try? await order(
                        HostActivities.adopt,
                        on: new.id,
                        of: id,
                        takes: timing.long,
                        attempts: 1,
                        adoption,
                        summary: Self.summary
                    ) {
                        place(on: new, epoch: report.epoch)
                        return report
                    }
                }
                // A decision for a third host: both of these are lost.
                if let decision, decision.cause == .failover, decision.operation != id,
                    decision.destination.id != old.id, decision.destination.id != new.id
                {
                    throw error
                }
            }
            try await context.sleep(for: pause)
            pause = min(pause * 2, .seconds(10))
        }
    }

    /// The host of the app is lost: another one restores it.
    func failOver(_ decision: PlacementDecision, id: String) async throws -> OperationResult {
        guard let placement = state.placement, state.version != nil else {
            await tellSlicer(SlicerWorkflow.gone, state.app)
            throw MartletError(.notFound, "\(state.app) is not placed, so there is nothing to restore")
        }
        let new = decision.destination
        let record = OperationRecord(
            id: id,
            kind: .failover,
            reason: decision.reason,
            from: placement.host.id,
            to: new.id,
            version: state.version,
            startedAt: context.now
        )
        // It has moved in the meantime.
        guard decision.from == placement.host.id else {
            await tellPlaced(isAwake: true)
            return OperationResult(operation: record)
        }
        // A later decision stands behind this one: that host is lost too.
        if let latest = self.decision, latest.operation != id, latest.cause == .failover {
            return OperationResult(operation: record)
        }
        return try await recorded(record, onFailure: .failed) {
            let specification = state.specification(try current())
            var pause = Duration.milliseconds(timing.retry)
            while true {
                do {
                    let report = try await order(
                        HostActivities.adopt,
                        on: new.id,
                        of: id,
                        takes: timing.long,
                        attempts: 2,
                        AdoptOrder(
                            specification: specification,
                            number: state.nextOrder(),
                            epoch: placement.epoch + 1,
                            fromEpoch: placement.epoch,
                            cause: .failover,
                            endedTerms: state.endedTerms,
                            isAwake: true
                        ),
                        summary: Self.summary
                    )
                    place(on: new, epoch: report.epoch)
                    await tellPlaced(isAwake: true)
                    return OperationResult(operation: record)
                } catch let error as MartletError {
                    if let refusal = error.cause as? OrderRefusal, error.code == .ownedElsewhere,
                        refusal.holder == placement.host.id
                    {
                        // The old host has come back and has taken its apps again.
                        place(on: placement.host, epoch: refusal.epoch)
                        await tellPlaced(isAwake: true)
                        throw error
                    }
                    if let latest = self.decision, latest.operation != id { throw error }
                }
                try await context.sleep(for: pause)
                pause = min(pause * 2, .seconds(10))
            }
        }
    }

    // MARK: - Steps

    private func follow(from epoch: Int, on host: HostID, id: String) async throws {
        _ = try await order(
            HostActivities.follow,
            on: host,
            of: id,
            takes: timing.long,
            FollowOrder(app: state.app, number: state.nextOrder(), fromEpoch: epoch)
        ) { StepSummary(bytes: $0.bytes, message: "\($0.databases) databases") }
    }

    private func handOver(from host: HostID, id: String) async {
        guard let placement = state.placement else { return }
        // The new host serves; an old one that cannot be told finds out by its patience, or is lost.
        _ = try? await order(
            HostActivities.handOver,
            on: host,
            of: id,
            takes: timing.short,
            HandOverOrder(
                app: state.app,
                number: state.nextOrder(),
                host: placement.host,
                epoch: placement.epoch
            )
        ) {
            StepSummary(
                message: "\($0.released) requests sent on, held for at most \($0.longestHoldMilliseconds) ms"
            )
        }
    }

    private func remove(from host: HostID, id: String) async {
        // What is left takes room and does no harm: the record says so.
        _ = try? await order(
            HostActivities.remove,
            on: host,
            of: id,
            takes: timing.short,
            RemoveOrder(app: state.app, number: state.nextOrder(), keepsReplica: true)
        ) { StepSummary(bytes: $0.bytes) }
    }

    func abandon(on host: HostID, id: String) async {
        // What is left takes room and does no harm: the record says so.
        _ = try? await order(
            HostActivities.abandon,
            on: host,
            of: id,
            takes: timing.short,
            AbandonOrder(app: state.app, number: state.nextOrder())
        )
    }

    private static func summary(_ report: CutOverReport) -> StepSummary {
        let (closed, adopted, released) = (report.quiesce, report.adopt, report.handOver)
        let sockets = closed.closedSockets > 0 ? ", \(closed.closedSockets) WebSockets closed" : ""
        return StepSummary(
            bytes: adopted.bytes,
            message:
                "epoch \(adopted.epoch), \(closed.positions.count) databases: drain \(closed.drainMilliseconds) ms, "
                + "close \(closed.closeMilliseconds) ms, sync \(closed.syncMilliseconds) ms, claim "
                + "\(adopted.claimMilliseconds) ms, restore \(adopted.restoreMilliseconds) ms, start "
                + "\(adopted.startMilliseconds) ms, in all \(report.milliseconds) ms; \(released.released) requests held, "
                + "at most \(released.longestHoldMilliseconds) ms\(sockets)"
        )
    }
}
