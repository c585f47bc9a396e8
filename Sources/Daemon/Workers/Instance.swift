import Control
import Proxy
import Synchronization

/// One start of an app: a worker with a version in it, from the hand-over to its end.
final class Instance: Sendable {
    let id: InstanceID
    let version: VersionID
    let worker: Worker
    /// Its own identity at the ingress, so that its running requests are counted apart from its successor's.
    let counted: App
    let upstream: Upstream
    let memoryLimitBytes: Int?
    /// How long the app took to load, without the worker's boot.
    let startTime: Duration
    /// Whether it has the app's own data, and not a copy to be tried.
    let hasLiveData: Bool
    /// What the app is, by its worker's own report.
    let report: WorkerMessage.Started
    /// Jobs that run in it now; they keep it awake.
    let cronRuns = Atomic<Int>(0)
    /// Set when the worker has ended and everything of it is gone.
    let gone = Once<Void>()

    private let state = Mutex(State())

    private struct State {
        /// Why the host ends it; nil while nobody does.
        var stop: HostMessage.StopReason?
        var isOutOfMemory = false
    }

    init(
        id: InstanceID,
        app: ApplicationID,
        version: VersionID,
        worker: Worker,
        limits: AppLimits,
        requestTimeout: Duration,
        memoryLimitBytes: Int?,
        startTime: Duration,
        hasLiveData: Bool,
        report: WorkerMessage.Started
    ) {
        self.id = id
        self.version = version
        self.worker = worker
        self.memoryLimitBytes = memoryLimitBytes
        self.startTime = startTime
        self.hasLiveData = hasLiveData
        self.report = report
        counted = App(name: app.rawValue, limits: limits)
        var options = Upstream.Options()
        // The harness answers at the time-out by itself; this is for one that cannot any more.
        options.answerTimeout = requestTimeout + .seconds(2)
        upstream = Upstream(app: counted, address: .unix(path: worker.socketPath), options: options)
    }

    var stopReason: HostMessage.StopReason? { state.withLock(\.stop) }

    func setStopping(_ reason: HostMessage.StopReason) {
        state.withLock { if $0.stop == nil { $0.stop = reason } }
    }

    /// Whether the kernel ended it for lack of memory.
    ///
    /// The count is gone with the worker's group, so it is noted before.
    var isOutOfMemory: Bool { state.withLock(\.isOutOfMemory) || worker.group.outOfMemoryKills() > 0 }

    func noteEnd(isOutOfMemory: Bool) { state.withLock { $0.isOutOfMemory = isOutOfMemory } }

    /// Nothing runs and nothing is open, by the ingress's own count.
    var isQuiet: Bool { counted.activity.isIdle }

    /// Background work goes on, as the harness says.
    ///
    /// An app could say so for ever, so it counts for a limited time.
    var hasBackgroundWork: Bool { !worker.activity.isIdle }
}
