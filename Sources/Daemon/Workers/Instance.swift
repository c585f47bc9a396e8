import Control
import CSandbox
import Glibc
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
    let bounds: Bounds
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

    private let state: Mutex<State>

    /// What it may use.
    struct Bounds: Sendable {
        var requestTimeout: Duration
        var limits: ControlGroupLimits
        var data: String
        var disk: DiskUsage
        var load = LoadPlan.Limits()
    }

    private struct State {
        /// Why the host ends it; nil while nobody does.
        var stop: HostMessage.StopReason?
        /// Why the host ended it by force.
        var order: EndCause?
        var cause: EndCause?
        var disk: DiskPlan
        var load: LoadPlan
        /// Whether the app's log says that it is held back.
        var isBrakeNoted = false
        /// The CPU time that it had to wait for, when it started.
        var throttled: CPUThrottling
    }

    init(
        id: InstanceID,
        app: ApplicationID,
        version: VersionID,
        worker: Worker,
        appLimits: AppLimits,
        bounds: Bounds,
        startTime: Duration,
        hasLiveData: Bool,
        report: WorkerMessage.Started,
        disk start: DiskUsage,
        yields: Bool = false,
        gate: (any AnswerGate)? = nil
    ) {
        self.id = id
        self.version = version
        self.worker = worker
        self.bounds = bounds
        self.startTime = startTime
        self.hasLiveData = hasLiveData
        self.report = report
        state = Mutex(
            State(
                disk: DiskPlan(
                    limit: bounds.disk,
                    start: start,
                    now: uptime()
                ),
                load: LoadPlan(limits: bounds.load, yields: yields),
                throttled: worker.group.throttling()
            )
        )
        // Its start may have been helped.
        if yields { worker.group.setYielding(true) }
        counted = App(name: app.rawValue, limits: appLimits)
        var options = Upstream.Options()
        // The harness answers at the time-out by itself; this is for one that cannot any more.
        options.answerTimeout = bounds.requestTimeout + .seconds(2)
        options.gate = gate
        options.hiddenAnswerFields = [StatementLedger.header]
        upstream = Upstream(app: counted, address: .unix(path: worker.socketPath), options: options)
    }

    var stopReason: HostMessage.StopReason? { state.withLock(\.stop) }

    func setStopping(_ reason: HostMessage.StopReason) {
        state.withLock { if $0.stop == nil { $0.stop = reason } }
    }

    // MARK: - Its end

    /// Why it ended, as far as that is known.
    ///
    /// What the worker's group counted is gone with it, so the first answer after the end is kept.
    func cause(_ end: ProcessEnd?) -> EndCause {
        if let cause = state.withLock(\.cause) { return cause }
        var facts = EndCause.Facts()
        facts.end = end ?? worker.end.value
        facts.order = state.withLock(\.order)
        facts.outOfMemoryKills = worker.group.outOfMemoryKills()
        facts.processRefusals = worker.group.processRefusals()
        facts.lastOutput = worker.lastOutput()
        facts.memoryLimitBytes = bounds.limits.memoryBytes
        facts.heapMegabytes = WorkerSite.heapMegabytes(forLimit: bounds.limits.memoryBytes ?? 0)
        facts.processLimit = bounds.limits.processes
        let cause = EndCause(facts)
        if end != nil { state.withLock { $0.cause = cause } }
        return cause
    }

    /// Ends it by force, because it broke a limit that the kernel does not keep.
    func kill(_ cause: EndCause) {
        let isFirst = state.withLock { state in
            guard state.order == nil, state.stop == nil else { return false }
            state.order = cause
            return true
        }
        if isFirst { worker.kill() }
    }

    /// It did not answer in time and did not say so itself: whatever it does will never end.
    func killHanging() -> EndCause {
        let (before, now) = (state.withLock(\.throttled), worker.group.throttling())
        let isThrottled = now.waits(since: before)
        let cause: EndCause =
            isThrottled
            ? .cpuLimit(cores: bounds.limits.cpu ?? 0, bounds.requestTimeout)
            : .requestTimeout(bounds.requestTimeout)
        kill(cause)
        return cause
    }

    // MARK: - Its data

    func isDiskCheckDue(_ now: Uptime) -> Bool { state.withLock { $0.disk.isDue(now) } }

    /// Looks at its data folder and ends it when that has grown too much; on a thread that may wait.
    func checkDisk() {
        let begin = uptime()
        guard let usage = DiskUsage.measure(bounds.data, maximumFiles: bounds.disk.files * 2) else { return }
        let now = uptime()
        let isOver = state.withLock { $0.disk.measured(usage, took: now - begin, now: now) }
        if isOver { kill(.diskFull(usage, bounds.disk)) }
    }

    // MARK: - What it uses

    /// Whether it used much of the CPU lately.
    var yieldsCPU: Bool { state.withLock { $0.load.yields } }

    /// When to look at what it uses.
    var loadDue: Uptime { state.withLock { $0.load.due } }

    /// Looks at what it uses and holds it back where that is too much; on a thread that may wait.
    ///
    /// - Returns: what its log should say, once.
    func checkLoad() -> String? {
        let usage = worker.group.usage()
        let (actions, isNew) = state.withLock { state in
            let actions = state.load.looked(usage, now: uptime())
            let isNew = actions.contains(.brake) && !state.isBrakeNoted
            if isNew { state.isBrakeNoted = true }
            return (actions, isNew)
        }
        for action in actions {
            switch action {
            case .brake: worker.brake()
            case .release: worker.releaseBrake()
            case .yieldCPU: worker.group.setYielding(true)
            case .shareCPU: worker.group.setYielding(false)
            }
        }
        guard isNew, let rate = bounds.load.writtenBytesPerSecond else { return nil }
        return
            "it writes faster than the \(ByteCount.format(rate)) a second that an app may write in the long run, and is slowed down"
    }

    // MARK: - What it does

    /// Nothing runs and nothing is open, by the ingress's own count.
    var isQuiet: Bool { counted.activity.isIdle }

    /// Background work goes on, as the harness says.
    ///
    /// An app could say so for ever, so it counts for a limited time.
    var hasBackgroundWork: Bool { !worker.activity.isIdle }
}
