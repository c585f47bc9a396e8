import Control
import Foundation
import Metrics
import Proxy
import Synchronization

/// What `/metrics` tells of a host.
///
/// Counters and times are noted as things happen; what is the case right now is counted when somebody asks, so that it
/// costs nothing in between.
extension HostDaemon {
    /// Brings the gauges up to date.
    public func collectMetrics() async {
        var states: [ApplicationState: Int] = [:]
        var held = 0
        for entry in entries.values {
            states[state(entry), default: 0] += 1
            let activity = entry.cell.waiting.activity
            held += activity.heldRequests
            countRequests(of: entry)
        }
        await collectProofs()
        for state in ApplicationState.allCases {
            Self.gauge("martlet_apps", [("state", state.rawValue)], states[state] ?? 0)
        }
        Self.gauge("martlet_requests_held", [], held)
        Self.gauge("martlet_starts_running", [], queue.runningCount)
        Self.gauge("martlet_starts_waiting", [], queue.waitingCount)
        let counts = await pool.counts
        for (state, count) in [
            ("warm", counts.warm), ("booting", counts.booting), ("wanted", counts.waiting),
        ] {
            Self.gauge("martlet_pool_workers", [("state", state)], count)
        }
    }

    /// How long ago the replicas of each app that is placed here were last restored and found sound.
    private func collectProofs() async {
        let now = Date()
        let proven = await databases?.proven() ?? [:]
        for app in provenApps where proven[app] == nil { Self.proofAge(app).destroy() }
        for (app, time) in proven { Self.proofAge(app).record(max(0, now.timeIntervalSince(time))) }
        provenApps = Set(proven.keys)
    }

    private static func proofAge(_ app: ApplicationID) -> Gauge {
        Gauge(label: "martlet_replica_proof_age_seconds", dimensions: [("app", app.rawValue)])
    }

    /// The requests since the last time, for the app's counter; an app without requests has none.
    private func countRequests(of entry: Entry) {
        let requests = entry.cell.requests.load(ordering: .relaxed)
        guard requests > entry.countedRequests else { return }
        Counter(label: "martlet_app_requests_total", dimensions: [("app", entry.record.id.rawValue)])
            .increment(by: requests - entry.countedRequests)
        entry.countedRequests = requests
    }

    /// A request has found the app without a worker that runs.
    func noteWanted(_ entry: Entry) {
        switch entry.machine.state {
        case .asleep: entry.wanted = (uptime(), "stopped")
        case .frozen: entry.wanted = (uptime(), "frozen")
        default: break
        }
    }

    /// The app serves: how long the first of the held requests has waited for that.
    func noteServing(_ entry: Entry) {
        guard let wanted = entry.wanted else { return }
        entry.wanted = nil
        Metrics.Timer(label: "martlet_wake", dimensions: [("from", wanted.from)])
            .recordNanoseconds((uptime() - wanted.at).wholeNanoseconds)
    }

    static func noteStart(_ result: String) {
        Counter(label: "martlet_starts_total", dimensions: [("result", result)]).increment()
    }

    static func noteUnwantedEnd(_ reason: String) {
        Counter(label: "martlet_worker_failures_total", dimensions: [("reason", reason)]).increment()
    }

    static func noteDeployment(_ result: String, _ time: Duration) {
        Metrics.Timer(label: "martlet_deployment", dimensions: [("result", result)])
            .recordNanoseconds(time.wholeNanoseconds)
    }

    private static func gauge(_ label: String, _ dimensions: [(String, String)], _ value: Int) {
        Gauge(label: label, dimensions: dimensions).record(value)
    }
}

extension Duration {
    fileprivate var wholeNanoseconds: Int64 {
        components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
    }
}
