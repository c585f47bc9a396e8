import Control
import Foundation
import Logging
import Proxy
import Synchronization

/// How workers come to rest and to their end.
extension HostDaemon {
    func confirmIdle(_ entry: Entry, _ id: InstanceID) {
        guard let instance = entry.awake?.instances[id] else { return }
        let (app, cell, proxy) = (entry.record.id, entry.cell, proxy)
        spawn { [self] in
            // From here on, every request that went to the worker is counted.
            await proxy?.synchronize()
            let isQuiet = instance.isQuiet && cell.waiting.activity.heldRequests == 0
            let isWorking = await isWorking(instance, since: cell.lastActivity.load(ordering: .relaxed))
            await later(.confirmed(id, isIdle: isQuiet && !isWorking), app)
        }
    }

    func freeze(_ entry: Entry, _ id: InstanceID) {
        guard let instance = entry.awake?.instances[id] else { return }
        let app = entry.record.id
        spawn { [self] in
            do {
                try await instance.worker.freeze()
                await frozen(instance, app)
            } catch {
                logger.warning(
                    "a worker could not be frozen",
                    metadata: ["app": "\(app)", "error": "\(error)"]
                )
                await later(.freezeFailed(id), app)
            }
        }
    }

    /// A request may have come while the worker was being frozen.
    private func frozen(_ instance: Instance, _ app: ApplicationID) {
        if entries[app]?.machine.state == .frozen(instance.id) { return }
        try? instance.worker.thaw()  // Its end is noticed if that fails.
    }

    func thaw(_ entry: Entry, _ id: InstanceID) -> LifeMachine.Event? {
        guard let instance = entry.awake?.instances[id] else { return nil }
        do {
            try instance.worker.thaw()
            return .thawed(id)
        } catch {
            logger.error(
                "a worker could not be thawed",
                metadata: ["app": "\(entry.record.id)", "error": "\(error)"]
            )
            instance.worker.kill()
            return nil
        }
    }

    func end(_ entry: Entry, _ id: InstanceID, _ reason: HostMessage.StopReason) {
        guard let instance = entry.awake?.instances[id] else { return }
        instance.setStopping(reason)
        let grace = configuration.timeouts.stop
        spawn {
            try? instance.worker.thaw()  // One that cannot run is ended by force.
            await instance.worker.stop(reason, grace: grace)
        }
    }

    /// Lets a worker finish what it handles, at most for the drain's time, then ends it.
    func retire(_ entry: Entry, _ id: InstanceID) {
        guard let instance = entry.awake?.instances[id] else { return }
        let reason: HostMessage.StopReason =
            switch entry.machine.state {
            case .closed: .delete
            case .suspended: .move
            default: .deploy
            }
        instance.setStopping(reason)
        let (proxy, timeouts) = (proxy, configuration.timeouts)
        let limit = entry.drainLimit ?? timeouts.drain
        spawn {
            try? instance.worker.thaw()  // One that cannot run is ended by force.
            await proxy?.synchronize()
            let deadline = uptime() + limit
            var pause = Duration.milliseconds(1)
            while instance.counted.activity.runningRequests > 0
                || instance.cronRuns.load(ordering: .relaxed) > 0,
                uptime() < deadline, instance.worker.end.value == nil
            {
                try? await Task.sleep(for: pause)  // Cancelled only when the daemon stops.
                pause = min(pause * 2, .milliseconds(50))
            }
            proxy?.closeIdleConnections(to: instance.upstream)
            await instance.worker.stop(instance.stopReason ?? .deploy, grace: timeouts.stop)
        }
    }
}
