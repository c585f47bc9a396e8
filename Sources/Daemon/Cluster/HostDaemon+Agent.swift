import Control
import Foundation
import Storage

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
}
