package import Control
import Foundation
import Logging
import Replication
import Storage

extension AppDatabases {
    /// The app is deleted: its replica stays for the retention time, and what is deployed under its name later begins
    /// empty.
    ///
    /// Its workers have ended; the local data is the caller's to remove.
    package func remove(_ app: ApplicationID) async throws {
        _ = try await place(app)
        do {
            _ = try await settled(app, within: configuration.syncTimeout)
        } catch {
            // The person wants it gone; what the replica lacks can't be had back, which the log says.
            logger.warning(
                "an app was deleted before its last changes were replicated",
                metadata: ["app": "\(app)"]
            )
        }
        do {
            let claim = try await claimForDeletion(app)
            var record = EpochRecord(epoch: claim.epoch, host: host.rawValue, begunAt: Date(), origin: nil)
            record.isDeletion = true
            try await record.write(app.rawValue, to: store)
            try await Ownership(app: app.rawValue, store: store).release(claim)
            try await forgetRecord(of: app)
            try await forgetCron(of: app)
        } catch {
            throw Self.shown(error, "delete the databases of \(app)")
        }
        await forget(app)
    }

    /// Forgets what is known of an app on this host; nothing in the store changes.
    package func forget(_ app: ApplicationID) async {
        guard let entry = placed.removeValue(forKey: app) else { return }
        await watcher.remove(folder.data(app.rawValue))
        for one in entry.streamed.values {
            do { try await replicator.forget(one.database) } catch {
                logger.debug("a database was not forgotten", metadata: ["error": "\(error)"])
            }
        }
        entry.streamed = [:]
    }

    private func claimForDeletion(_ app: ApplicationID) async throws -> Ownership.Claim {
        try await Ownership(app: app.rawValue, store: store)
            .claim(under: try await requireLease(), claim: UUID().uuidString)
    }
}
