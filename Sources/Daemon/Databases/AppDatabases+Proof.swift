package import Control
import Foundation
import Logging
import Replication

// The proof that replicas can be restored, and what is done once a day.
extension AppDatabases {
    /// Restores the replicas of awake apps from time to time, and removes epochs that nobody can go back to.
    func proveAndPrune() async {
        var nextPrune = ContinuousClock.now + .seconds(60)
        while !Task.isCancelled {
            let interval = configuration.provingInterval ?? .seconds(3600)
            // Cancelled only when the host stops.
            try? await Task.sleep(for: min(interval / 4, .seconds(60)))
            if Task.isCancelled { return }
            if configuration.provingInterval != nil {
                for app in placed.values.filter({ isDue($0, interval) }).map(\.app) where !Task.isCancelled {
                    await prove(app)
                }
            }
            guard ContinuousClock.now >= nextPrune else { continue }
            nextPrune = .now + .seconds(24 * 3600)
            guard let now = await storeTime() else { continue }
            for app in Array(placed.keys) where !Task.isCancelled { await prune(app, now: now) }
            await pruneDeleted(now: now)
        }
    }

    private func isDue(_ entry: Placed, _ interval: Duration) -> Bool {
        guard entry.workers > 0, !entry.streamed.isEmpty else { return false }
        let limit = Date(timeIntervalSinceNow: -interval.inSeconds)
        return entry.streamed.keys.contains { name in entry.proven[name].map { $0 < limit } ?? true }
    }

    /// Restores the replica of each of an app's databases and checks it in full.
    package func prove(_ app: ApplicationID) async {
        guard let entry = placed[app] else { return }
        for (name, one) in entry.streamed where one.problem == nil {
            let path = folder.stagingPath()
            do {
                _ = try await replicator.restore(one.database.replica, to: path, at: .newest) { _ in }
                entry.proven[name] = Date()
            } catch {
                logger.error(
                    "a replica could not be restored for proof",
                    metadata: ["app": "\(app)", "database": "\(name)", "error": "\(error)"]
                )
            }
            do { try DatabaseFiles(path: path).removeAll() } catch {
                logger.debug("a proof was not removed", metadata: ["error": "\(error)"])
            }
        }
        entry.proven = entry.proven.filter { entry.streamed[$0.key] != nil }
    }
}
