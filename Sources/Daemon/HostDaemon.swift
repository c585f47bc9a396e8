import Control
import CSandbox
import Foundation
public import Logging
import Proxy
public import ServiceLifecycle
import Synchronization

/// One host: the apps on it, their workers, and the ingress in front of them.
///
/// Make it, then ``start(api:)``, then ``run()`` until it is cancelled.
public actor HostDaemon: Service {
    let configuration: HostConfiguration
    let folder: StateFolder
    let store: StateStore
    let secrets: SecretBox
    let logs: LogStore
    let pool: WorkerPool
    let site: WorkerSite
    let isolator: any Isolator
    nonisolated let groups: any ControlGroups
    nonisolated let gateway: NetworkGateway?
    let table = RouteTable()
    nonisolated let logger: Logger
    var proxy: ProxyServer?
    var tls: TLSIngress?
    /// What this host knows of its cluster; nil for a host on its own.
    nonisolated let membership: ClusterMembership?
    var apiDecision = RouteDecision.unknown
    /// Where control's own table of routes can be had, while the host speaks to it.
    var routesSource: (@Sendable () async throws -> Control.RouteTable)?
    /// The apps' databases beyond this host; nil for a host without a store.
    package internal(set) var databases: AppDatabases?
    /// Those whose proofs the metrics have told of.
    var provenApps: Set<ApplicationID> = []

    /// When control last asked for the loads, and what was counted when the last sample was taken.
    var lastReport = uptime()
    var areRoutesKept = true
    var peerOrders: PeerOrders?
    var lastCounts: [ApplicationID: LoadCounts] = [:]
    /// Apps that were awake when the last sample was taken, and those whose data was not measured yet.
    var sampled: Set<ApplicationID> = []
    lazy var unmeasured = Array(entries.keys)
    lazy var statistics = StatisticsApp(logger: logger) { [weak self] in
        guard let self else { throw CancellationError() }
        return try await self.startStatistics()
    }

    var entries: [ApplicationID: Entry]
    /// Apps that the object store knows and that have no version here yet.
    var stored: [ApplicationID: ApplicationRecord] = [:]
    /// How many deployments of a content are under way.
    var underway: [VersionID: Int] = [:]
    var takingOver: [ApplicationID: Task<Void, any Error>] = [:]
    /// The apps that left this host, as far as their requests may still come here: few of all.
    var departed: Set<ApplicationID> = []
    /// The apps that the sweep looks at: those with workers, and those that back off.
    var watched: Set<ApplicationID> = []
    var queue: WakeQueue<ApplicationID>
    let sleepPlan: SleepPlan
    var isStopping = false
    /// The folder that is being worked on, under `martlet dev`, and a worker that waits for its next start.
    var developed: Developed?
    var spare: (files: String, worker: Worker)?
    /// Jobs that run now.
    var cronRunning: Set<CronKey> = []
    /// What gets the jobs of apps that have just come from other hosts.
    var learningJobs: [ApplicationID: Task<Void, Never>] = [:]
    let stopping = Once<Void>()

    private var nextInstance = 1
    private let lock: Int32
    private let jobs: AsyncStream<Job>
    private let jobSource: AsyncStream<Job>.Continuation
    private let wakes: AsyncStream<String>
    let wakeSource: AsyncStream<String>.Continuation

    typealias Job = @Sendable () async -> Void

    /// Takes the state folder, reads the state and removes what a killed daemon left behind.
    ///
    /// Nothing listens yet.
    ///
    /// - Throws: ``MartletError`` that says what is missing.
    public init(_ configuration: HostConfiguration, logger: Logger) throws {
        self.configuration = configuration
        self.logger = logger
        let path = configuration.folder.path(percentEncoded: false)
        folder = StateFolder(path: path.hasSuffix("/") && path.count > 1 ? String(path.dropLast()) : path)
        do {
            lock = try folder.open()
        } catch let error as SystemError where error.number == EWOULDBLOCK {
            throw MartletError(
                .conflict,
                "another martlet already runs with \(folder.path); stop it or choose another folder"
            )
        }
        let selection = try SandboxSelection(configuration, folder: folder, logger: logger)
        isolator = selection.isolator
        groups = selection.groups
        gateway = selection.gateway
        Leftovers(runFolder: folder.run, groups: groups, logger: logger).remove()
        site = selection.site
        store = try StateStore(path: folder.database)
        secrets = try SecretBox(keyFile: folder.key)
        logs = LogStore(folder: folder)
        pool = WorkerPool(
            site: selection.site,
            limits: PoolPlan.Limits(
                minimum: configuration.pool.minimum,
                maximum: configuration.pool.maximum,
                boots: configuration.pool.boots
            ),
            bootDeadline: configuration.timeouts.boot,
            logger: logger
        )
        queue = WakeQueue(slots: configuration.limits.starts, capacity: configuration.limits.waitingStarts)
        sleepPlan = SleepPlan(
            limits: SleepPlan.Limits(
                frozenFor: configuration.sleep.frozenFor,
                frozenBytes: configuration.sleep.frozenBytes
                    ?? Int(ProcessInfo.processInfo.physicalMemory / 8),
                canFreeze: groups.features.contains(.freezer)
            )
        )
        membership = try configuration.cluster.map {
            try ClusterMembership($0, host: configuration.host, logger: logger)
        }
        (jobs, jobSource) = AsyncStream.makeStream()
        (wakes, wakeSource) = AsyncStream.makeStream()
        var entries: [ApplicationID: Entry] = [:]
        // On a cluster an app without a version was only being prepared here.
        for record in try store.applications() where configuration.cluster == nil || record.version != nil {
            entries[record.id] = Self.makeEntry(record, limits: configuration.limits)
        }
        for (app, jobs) in try store.cron() { entries[app]?.cron = jobs }
        self.entries = entries
    }

    deinit { csandbox_close(lock) }

    /// What the start-up output says about isolation and limits.
    public nonisolated var summary: String {
        "sandbox: \(isolator.name), network: \(gateway?.summary ?? "shared"), control groups: \(groups.summary), "
            + "pool: \(pool.isUsable ? "on" : "off")"
    }

    /// Does the host's work until the task is cancelled; then stops the ingress, the apps and the pool in this order.
    public func run() async throws {
        await withTaskCancellationOrGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.wakeLoop() }
                group.addTask { await self.sweepLoop() }
                group.addTask { await self.clusterLoops() }
                group.addTask { await self.takeOverStoredApplications() }
                group.addTask { await self.cronLoop() }
                group.addTask { await self.diskLoop() }
                group.addTask { await self.loadLoop() }
                group.addTask { await self.fillRuntimeCache() }
                for await job in jobs { group.addTask { await job() } }
                // A graceful shutdown ends the streams but cancels nothing. This ends the sweep and the workers, and with
                // them the jobs that watch them.
                await self.shutDown()
            }
        } onCancelOrGracefulShutdown: { [jobSource, wakeSource] in
            wakeSource.finish()
            jobSource.finish()
        }
        // Only now has all ended that makes workers, the boots that had begun before the shutdown too.
        await gateway?.close()
        logs.closeAll()
        groups.removeEmpty()
    }

    /// Makes later boots quick, once those that the pool needs at once are done.
    private func fillRuntimeCache() async {
        guard let cache = site.runtimeCache, cache.usable == nil else { return }
        await pool.fill(atMost: configuration.timeouts.boot)
        guard !isStopping else { return }
        do {
            try await cache.fill(on: site, deadline: configuration.timeouts.boot) { await pool.takeID() }
        } catch {
            logger.warning("workers boot without compiled modules", metadata: ["error": "\(error)"])
        }
    }

    /// Runs something beside what is going on, as a part of ``run()``.
    func spawn(_ job: @escaping Job) { jobSource.yield(job) }

    func takeInstance() -> InstanceID {
        defer { nextInstance += 1 }
        return InstanceID(nextInstance)
    }

    // MARK: - Apps

    static func makeEntry(_ record: StateStore.Application, limits: HostConfiguration.Limits) -> Entry {
        var appLimits = AppLimits()
        appLimits.heldRequests = limits.heldRequests
        appLimits.holdTime = limits.holdTime
        return Entry(
            record: record,
            cell: RouteCell(waiting: App(name: record.id.rawValue, limits: appLimits))
        )
    }

    func entry(_ app: ApplicationID) throws -> Entry {
        guard let entry = entries[app] else {
            throw MartletError(
                .notFound,
                "there is no app named \(app); `martlet apps` lists those that there are"
            )
        }
        return entry
    }

    private func wakeLoop() async {
        for await name in wakes {
            guard let app = ApplicationID(name), let entry = entries[app] else { continue }
            handle(.requested, entry)
        }
    }

    /// Ends what runs: the ingress first lets running requests finish.
    private func shutDown() async {
        isStopping = true
        stopping.set(())
        let deadline = configuration.timeouts.drain
        let security = membership?.security
        await withDiscardingTaskGroup { [proxy, tls] group in
            group.addTask { await proxy?.drain(deadline: deadline) }
            group.addTask { await tls?.drain(deadline: deadline) }
            group.addTask { await security?.drain(deadline: deadline) }
        }
        await tls?.stop()
        await peerOrders?.close()
        await security?.stop()
        let instances = entries.values.flatMap { $0.awake.map { Array($0.instances.values) } ?? [] }
        let grace = configuration.timeouts.stop
        await withDiscardingTaskGroup { group in
            for instance in instances {
                instance.setStopping(.shutdown)
                group.addTask {
                    try? instance.worker.thaw()  // One that cannot run is ended by force.
                    await instance.worker.stop(.shutdown, grace: grace)
                }
            }
            if let (_, worker) = spare { group.addTask { await worker.destroy() } }
            if membership != nil { group.addTask { await self.statistics.stop() } }
            group.addTask { [pool] in await pool.close() }
        }
        await closeStore(after: instances)
    }
}
