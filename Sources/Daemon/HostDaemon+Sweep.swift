import Control
import CSandbox
import Foundation
import Synchronization

/// Sends apps to sleep, and looks after the pool.
extension HostDaemon {
    func sweepLoop() async {
        await pool.adjust()
        while !Task.isCancelled, !isStopping {
            do { try await Task.sleep(for: configuration.sleep.interval) } catch { return }
            await sweep()
            tls?.reloadIfChanged()
            membership?.security?.reloadIfChanged()
        }
    }

    func sweep() async {
        gateway?.refreshOwnAddresses()
        let isMemoryShort = Self.freeMemoryShare() < configuration.sleep.minimumFreeMemory
        await pool.setMemoryShort(isMemoryShort)
        var candidates: [SleepPlan.Candidate] = []
        var apps: [ApplicationID] = []
        let now = csandbox_monotonic()
        for app in watched {
            guard let entry = entries[app] else { continue }
            if case .backingOff = entry.machine.state {
                handle(.timePassed, entry)
                continue
            }
            guard let (instance, depth) = sleeper(entry) else { continue }
            if depth == .hot && !instance.isQuiet { entry.cell.lastActivity.store(now, ordering: .relaxed) }
            let last = entry.cell.lastActivity.load(ordering: .relaxed)
            if depth == .hot && isWorking(instance, since: last) { continue }
            candidates.append(
                SleepPlan.Candidate(
                    app: apps.count,
                    depth: depth,
                    idle: .nanoseconds(Int64(now > last ? now - last : 0)),
                    sleepAfter: sleepAfter(entry.record),
                    memoryBytes: depth == .frozen ? instance.worker.group.memoryBytes() ?? 0 : 0
                )
            )
            apps.append(app)
        }
        for order in sleepPlan.decide(candidates, isMemoryShort: isMemoryShort) {
            switch order {
            case .freeze(let index): later(.sleep(.frozen), apps[index])
            case .stop(let index): later(.sleep(.stopped), apps[index])
            }
        }
    }

    /// Whether background work keeps the app awake, which it may for a limited time after the last request.
    func isWorking(_ instance: Instance, since last: UInt64) -> Bool {
        if instance.cronRuns.load(ordering: .relaxed) > 0 { return true }
        let limit = configuration.timeouts.waitUntil + .seconds(5)
        return instance.hasBackgroundWork && uptime() - .nanoseconds(Int64(last)) < limit
    }

    /// The worker that may sleep, or sleep deeper.
    private func sleeper(_ entry: Entry) -> (Instance, SleepPlan.Depth)? {
        switch entry.machine.state {
        case .serving(let id, _): entry.awake?.instances[id].map { ($0, .hot) }
        case .frozen(let id): entry.awake?.instances[id].map { ($0, .frozen) }
        default: nil
        }
    }

    func sleepAfter(_ record: StateStore.Application) -> Duration? {
        switch record.sleepAfter {
        case .never: nil
        case .after(let time): time
        case nil: configuration.sleep.after
        }
    }

    /// MemAvailable of MemTotal (proc(5), /proc/meminfo); 1 where it is not known.
    private static func freeMemoryShare() -> Double {
        var (total, available) = (0.0, 0.0)
        for line in ControlGroupDetection.text("/proc/meminfo").split(separator: "\n").prefix(4) {
            let words = line.split(separator: " ")
            guard words.count >= 2, let number = Double(words[1]) else { continue }
            if words[0] == "MemTotal:" { total = number }
            if words[0] == "MemAvailable:" { available = number }
        }
        return total > 0 ? available / total : 1
    }
}
