import Control
import Foundation
import Logging
import Proxy
import Replication

/// The old host's side of a move: stop taking requests, let running ones finish, close, sync, give up, send on.
extension HostDaemon {
    /// Takes an app out of service without losing a request or a row; see ``HostOrders/quiesce(_:)``.
    ///
    /// When it fails, the app is served here again.
    func quiesce(_ order: QuiesceOrder) async throws -> QuiesceReport {
        let (app, databases) = (order.app, try clusterDatabases())
        let entry = try entry(app)
        if case .quiesced(let report, _) = entry.departure { return report }
        guard entry.departure == nil, !entry.isChanging else {
            throw MartletError(
                .unavailable,
                "\(app) is being deployed, or is leaving already; it moves when that is done"
            )
        }
        // An app that has slept since the host was started is only now looked up in the store.
        let epoch = try await databases.place(app).epoch
        guard epoch == order.epoch else {
            throw MartletError(
                .staleOrder,
                "stop \(app) at epoch \(order.epoch): it is at epoch \(epoch) here",
                cause: OrderRefusal(epoch: epoch, holder: configuration.host)
            )
        }
        guard entry.departure == nil, !entry.isChanging, entries[app] === entry else {
            throw MartletError(.unavailable, "\(app) has just changed; try again")
        }
        let begin = uptime()
        entry.departure = .quiescing(since: begin)
        do {
            let report = try await close(entry, order, databases, since: begin)
            entry.departure = .quiesced(report, since: begin)
            goOnAlone(app, after: .milliseconds(order.patienceMilliseconds), since: begin)
            return report
        } catch {
            entry.departure = nil
            entry.drainLimit = nil
            handle(.resume, entry)
            throw error
        }
    }

    private func close(
        _ entry: Entry,
        _ order: QuiesceOrder,
        _ databases: AppDatabases,
        since begin: Uptime
    ) async throws -> QuiesceReport {
        let app = entry.record.id
        let wasAwake = entry.awake != nil
        entry.drainLimit = .milliseconds(order.drainMilliseconds)
        handle(.suspend, entry)
        let instances = entry.awake.map { Array($0.instances.values) } ?? []
        let sockets = instances.reduce(0) { $0 + $1.counted.activity.openTunnels }
        await proxy?.synchronize()
        while instances.contains(where: { $0.counted.activity.runningRequests > 0 && $0.gone.value == nil }) {
            try await Task.sleep(for: .milliseconds(1))
        }
        let drained = uptime()
        let patience = drained + configuration.timeouts.stop + .seconds(15)
        while entry.awake != nil {
            guard uptime() < patience else {
                throw MartletError(.timeout, "the worker of \(app) has not ended; see `martlet logs \(app)`")
            }
            if let instance = entry.awake?.instances.values.first {
                _ = await instance.gone.wait(atMost: .seconds(1))
            } else {
                try await Task.sleep(for: .milliseconds(2))
            }
        }
        entry.drainLimit = nil
        let closed = uptime()
        let limit = configuration.cluster?.moves.settle ?? .seconds(20)
        let positions = try await databases.giveUp(app, within: limit)
        return QuiesceReport(
            positions: positions,
            held: entry.cell.waiting.activity.heldRequests,
            closedSockets: sockets,
            drainMilliseconds: (drained - begin).milliseconds,
            closeMilliseconds: (closed - drained).milliseconds,
            syncMilliseconds: (uptime() - closed).milliseconds,
            wasAwake: wasAwake
        )
    }

    /// When nobody says how the move goes on, the host takes the app's next epoch itself; if another host has it by then,
    /// requests go there.
    private func goOnAlone(_ app: ApplicationID, after patience: Duration, since begin: Uptime) {
        spawn { [self] in
            // Cancelled only when the daemon stops.
            try? await Task.sleep(for: patience)
            while !Task.isCancelled, await isWaiting(app, since: begin) {
                do {
                    logger.warning(
                        "a move came to no end; the host goes on with the app",
                        metadata: ["app": "\(app)"]
                    )
                    _ = try await goOn(app)
                    return
                } catch {
                    logger.error(
                        "the host can not go on with an app yet",
                        metadata: ["app": "\(app)", "error": "\(error)"]
                    )
                    try? await Task.sleep(for: .seconds(2))
                }
            }
        }
    }

    private func isWaiting(_ app: ApplicationID, since begin: Uptime) -> Bool {
        guard case .quiesced(_, begin) = entries[app]?.departure else { return false }
        return true
    }

    /// Sends held and new requests to the app's new host.
    func handOver(_ order: HandOverOrder) async throws -> HandOverReport {
        guard let membership else { throw Self.notInCluster() }
        let app = order.app
        // A host that was started anew since has nothing that waits; its routes, or the store, say where the app is.
        guard let entry = entries[app] else { return HandOverReport(released: 0, longestHoldMilliseconds: 0) }
        if let epoch = await databases?.epoch(of: app), epoch >= order.epoch {
            throw MartletError(
                .staleOrder,
                "hand \(app) over at epoch \(order.epoch): it is at epoch \(epoch) here",
                cause: OrderRefusal(epoch: epoch, holder: configuration.host)
            )
        }
        let held = entry.cell.waiting.activity.heldRequests
        var longest = Duration.zero
        if case .quiesced(_, let since) = entry.departure, held > 0 { longest = uptime() - since }
        let peer = membership.directory.peer(order.host.id, at: order.host.peer)
        send(entry, to: peer)
        return HandOverReport(released: held, longestHoldMilliseconds: longest.milliseconds)
    }

    /// The app is at another host from now on.
    func send(_ entry: Entry, to peer: Peer) {
        handle(.suspend, entry)
        entry.departure = .handedOver(to: peer.host)
        departed.insert(entry.record.id)
        guard let upstream = peer.upstream else { return }
        entry.cell.forward(to: upstream) { _ in nil }
        proxy?.retryHeld(entry.cell.waiting)
    }

    func clusterDatabases() throws -> AppDatabases {
        guard membership != nil, let databases else { throw Self.notInCluster() }
        return databases
    }

    static func notInCluster() -> MartletError {
        MartletError(.badRequest, "this host is in no cluster; start it with `martlet host`")
    }

    static func fileBytes(_ path: String) -> Int {
        // What is not there has none.
        (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
    }
}
