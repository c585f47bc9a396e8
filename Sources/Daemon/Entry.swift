import Control
import Foundation

/// What the daemon knows of one app.
///
/// It is kept for every app, so what only awake ones need is in ``Awake``.
final class Entry {
    var record: StateStore.Application
    var machine = LifeMachine()
    let cell: RouteCell
    /// The workers that run a version of it; nil while it sleeps.
    var awake: Awake?
    var lastFailure: ApplicationStatus.Failure?
    /// What runs at set times.
    var cron: [StateStore.Cron] = []
    /// A deployment, a rollback or a removal is under way.
    var isChanging = false
    /// Set while the app is not served here, though it was.
    var departure: Departure?
    /// Its files are gone; what is left says where its requests go, until the routes do.
    var isRemoved = false
    /// What its data takes on the disk, as it was counted last.
    var databaseBytes: Int?
    /// Since when a request waits for the app to serve, and what it was woken from.
    var wanted: (at: Uptime, from: String)?
    /// The requests that its counter has.
    var countedRequests = 0
    /// How long running requests of a worker that is retired may go on, where an order says.
    var drainLimit: Duration?
    /// A worker of it used much of the CPU, or ended by itself, until when its next ones begin with what others leave.
    var busyUntil: Uptime?

    init(record: StateStore.Application, cell: RouteCell) {
        self.record = record
        self.cell = cell
    }

    /// How long a worker that used much, or ended by itself, counts against the next one.
    static let memory = Duration.seconds(10)

    func isBusy(_ now: Uptime) -> Bool { busyUntil.map { now < $0 } ?? false }

    /// On its way to another host.
    ///
    /// ```
    ///   nil ──► quiescing ──► quiesced ──► handedOver ──► (removed)
    ///    ▲          │             │  patience is over, or resume
    ///    └──────────┴─────────────┘
    ///   nil ──► lost     the lease is over, or another host has taken the app
    /// ```
    enum Departure: Sendable {
        case quiescing(since: Uptime)
        /// The databases are closed and the epoch is given up; requests wait.
        case quiesced(QuiesceReport, since: Uptime)
        /// Requests go to the new host.
        case handedOver(to: HostID)
        case lost(reason: String)
    }

    final class Awake {
        var instances: [InstanceID: Instance] = [:]
        var starts: Set<InstanceID> = []
    }
}
