package import Control
import Foundation

/// What tests and benchmarks need besides what people can do.
extension HostDaemon {
    /// Ends the workers of an app by force, as an accident would.
    ///
    /// Throws ``MartletError`` with code `not_found`.
    package func killWorkers(of app: ApplicationID) throws {
        for instance in try entry(app).awake?.instances.values ?? [:].values {
            instance.worker.kill()
        }
    }

    /// Sends an app to sleep as if its idle time had passed.
    package func putToSleep(_ app: ApplicationID, isDeep: Bool) {
        later(.sleep(isDeep ? .stopped : .frozen), app)
    }

    /// Waits until the pool is full.
    package func fillPool() async { await pool.fill(atMost: .seconds(30)) }

    /// Waits until apps can reach the internet, or it is certain that they can't.
    package nonisolated func waitForNetwork() async { await gateway?.waitForUplink(atMost: .seconds(20)) }

    /// Where and how workers are booted here.
    package nonisolated var workerSite: WorkerSite { site }

    /// Boots a worker of the pool's kind that is nobody's.
    ///
    /// - Throws: ``SystemError`` or ``WorkerError``.
    package func bootForBenchmark() async throws -> Worker {
        let id = await pool.takeID()
        return try await Worker.boot(id, folders: nil, on: site, deadline: configuration.timeouts.boot)
    }

    /// Makes another app with the version that an app has.
    package func copyForBenchmark(_ app: ApplicationID, _ name: String) async throws {
        let current = try entry(app)
        guard let id = current.record.version, var version = try await store.version(id, of: app) else {
            throw MartletError(.notFound, "\(app) has no version")
        }
        version.app = try ApplicationID(validating: name)
        _ = try await store.claim(version.app, for: current.record.owner, now: Date())
        try await store.add(version)
        try await store.use(version, now: Date())
        var record = current.record
        record.id = version.app
        let entry = Self.makeEntry(record, limits: configuration.limits)
        entries[version.app] = entry
        table[name] = entry.cell
    }
}
