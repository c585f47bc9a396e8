import Control
import Foundation
import Proxy
import Storage
import Synchronization

/// What the host's agent asks of it beside orders about apps.
extension HostDaemon {
    func useRoutes(_ source: @escaping @Sendable () async throws -> Control.RouteTable) {
        routesSource = source
        // What was published while nobody listened.
        membership?.hear(.max, from: nil)
    }

    /// Gets the whole table from control and uses it.
    ///
    /// - Returns: the generation that the host has then.
    func fetchPublishedRoutes() async throws -> Int {
        guard let membership, let routesSource else { throw Self.notInCluster() }
        try publish(try await routesSource())
        return membership.generation
    }

    func beat() -> SessionBeat {
        SessionBeat(generation: membership?.generation ?? 0, renewsLease: membership?.right.isValid ?? false)
    }

    /// A sign of life arrived at those who would revoke the lease.
    nonisolated func confirmLease(sentAt sent: ContinuousClock.Instant) {
        membership?.right.lease?.confirm(sentAt: sent)
    }

    /// The term of the lease that the host has now.
    func leaseTerm() -> Int? {
        guard let right = membership?.right, right.isValid else { return nil }
        return right.lease?.term
    }

    /// Takes a version into use beside the one that serves.
    func start(_ order: Control.StartOrder) async throws -> StartReport {
        let begin = uptime()
        let app = order.app
        let databases = try clusterDatabases()
        let entry = try entry(app)
        guard entry.departure == nil else {
            throw MartletError(.conflict, "\(app) is on its way to another host; try again")
        }
        let epoch = try await databases.place(app).epoch
        guard epoch >= order.epoch else {
            throw MartletError(
                .staleOrder,
                "start \(app) at epoch \(order.epoch): it is at epoch \(epoch) here",
                cause: OrderRefusal(epoch: epoch, holder: configuration.host)
            )
        }
        _ = try await preparedVersion(order.specification)
        try await setEnvironment(of: app, order.specification.environment)
        entry.isChanging = true
        defer { entry.isChanging = false }
        let hasOld = try await start(app, version: order.specification.version)
        let removed = try await store.prune(app, keeping: configuration.limits.versions)
        removeFiles(of: removed)
        return StartReport(milliseconds: (uptime() - begin).milliseconds, hasOld: hasOld)
    }

    func configure(_ order: ConfigureOrder) async throws {
        let entry = try entry(order.app)
        try await setEnvironment(of: order.app, order.environment)
        handle(.forgive, entry)
    }

    /// What the host does and has.
    func report(incarnation: String) async throws -> HostReport {
        guard let membership else { throw Self.notInCluster() }
        let now = uptime()
        let interval = now - lastReport.at
        let metrics = Dictionary(
            (proxy?.metrics.apps ?? []).map { ($0.name, $0) },
            uniquingKeysWith: { first, _ in first }
        )
        var loads: [ApplicationLoad] = []
        var counts: [ApplicationID: LoadCounts] = [:]
        for (app, entry) in entries.sorted(by: { $0.key < $1.key }) where entry.departure == nil {
            let instances = entry.awake.map { Array($0.instances.values) } ?? []
            let count = LoadCounts(
                requests: entry.cell.requests.load(ordering: .relaxed),
                errors: Int(metrics[app.rawValue].map { $0.serverError + $0.noStatus } ?? 0),
                cpuMicroseconds: 0
            )
            let before = lastReport.counts[app] ?? LoadCounts()
            counts[app] = count
            loads.append(
                ApplicationLoad(
                    app: app,
                    epoch: await databases?.epoch(of: app) ?? 0,
                    isAwake: !instances.isEmpty,
                    requests: max(count.requests - before.requests, 0),
                    errors: max(count.errors - before.errors, 0),
                    cpuMicroseconds: 0,
                    memoryBytes: instances.compactMap { $0.worker.group.memoryBytes() }.reduce(0, +),
                    databaseBytes: Self.folderBytes(folder.data(app.rawValue))
                )
            )
        }
        lastReport = (now, counts)
        return HostReport(
            host: configuration.host,
            incarnation: incarnation,
            generation: membership.generation,
            intervalMilliseconds: interval.milliseconds,
            apps: loads
        )
    }
}

/// What is counted of an app since the host was started.
struct LoadCounts: Sendable, Equatable {
    var requests = 0
    var errors = 0
    var cpuMicroseconds = 0
}
