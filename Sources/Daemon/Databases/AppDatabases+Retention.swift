package import Control
package import Foundation
import Logging
import NIOCore
import Replication
import Storage

/// That an app was deleted, so that its replicas are removed once nobody can want them back:
/// `records/deleted/<app>.json`.
private struct DeletionRecord: Codable {
    static let prefix = "records/deleted/"

    var app: String
    /// The epoch that was claimed for the deletion; what is under earlier ones is the deleted app's.
    var epoch: Int
    var deletedAt: Date

    static func key(_ app: String) throws -> ObjectKey { try ObjectKey("\(prefix)\(app).json") }
}

// What is in the store longer than anybody can go back.
extension AppDatabases {
    /// Removes the replicas of epochs that ended before the retention time, and of databases that the app removed before it.
    package func prune(_ app: ApplicationID, now: Date = Date()) async {
        guard let entry = placed[app] else { return }
        let limit = now.addingTimeInterval(-configuration.retention.inSeconds)
        var next: EpochRecord = entry.record
        var candidate = entry.epoch - 1
        do {
            try await pruneRemoved(entry, limit)
            while candidate > 0 {
                guard let record = try await EpochRecord.read(app.rawValue, candidate, in: store) else {
                    // What is before it was removed earlier, unless a placement was interrupted there.
                    if entry.epoch - candidate > 100 { return }
                    candidate -= 1
                    continue
                }
                if next.begunAt < limit {
                    try await store.deleteAll(
                        prefix: ReplicaLocation.folder(app: app.rawValue, epoch: candidate)
                    )
                    try await store.delete(try EpochRecord.key(app.rawValue, candidate))
                    logger.info(
                        "an old epoch was removed",
                        metadata: ["app": "\(app)", "epoch": "\(candidate)"]
                    )
                }
                next = record
                candidate -= 1
            }
        } catch {
            logger.warning("old epochs were not removed", metadata: ["app": "\(app)", "error": "\(error)"])
        }
    }

    /// The time by the store's clock or by this host's, whichever is earlier: a clock that is ahead must remove nothing.
    ///
    /// - Returns: nil when the store does not tell.
    func storeTime() async -> Date? {
        // This host writes it every few seconds.
        guard let lease, let key = try? Lease<ContinuousClock>.key(of: lease.holder) else { return nil }
        do {
            return try await store.head(key).map { min(Date(), $0.modified.addingTimeInterval(60)) }
        } catch {
            logger.info("the store's clock was not read", metadata: ["error": "\(error)"])
            return nil
        }
    }

    private func pruneRemoved(_ entry: Placed, _ limit: Date) async throws {
        let folder = ReplicaLocation.folder(app: entry.app.rawValue, epoch: entry.epoch)
        for (replica, removedAt) in entry.record.removed where removedAt < limit {
            try await store.deleteAll(prefix: "\(folder)\(replica)/")
            entry.record.removed[replica] = nil
            entry.isRecordDirty = true
            logger.info(
                "the replica of a removed database was removed",
                metadata: ["app": "\(entry.app)", "replica": "\(replica)"]
            )
        }
        await writeRecord(entry)
    }

    /// Notes that the app was deleted under an epoch.
    func noteDeletion(of app: ApplicationID, epoch: Int) async throws {
        let record = DeletionRecord(app: app.rawValue, epoch: epoch, deletedAt: Date())
        let bytes = ByteBuffer(bytes: try JSONFormat.encoder().encode(record))
        try await store.put(try DeletionRecord.key(app.rawValue), .bytes(bytes))
    }

    /// Removes the replicas of apps that were deleted before the retention time.
    ///
    /// The owner record and the record of the deletion stay, some hundred bytes: epochs go on from there.
    package func pruneDeleted(now: Date = Date()) async {
        let limit = now.addingTimeInterval(-configuration.retention.inSeconds)
        do {
            for object in try await store.listAll(prefix: DeletionRecord.prefix) {
                let bytes = try await store.get(object.key).bytes(upTo: 1 << 20)
                let record = try JSONFormat.decoder().decode(
                    DeletionRecord.self,
                    from: Data(bytes.readableBytesView)
                )
                guard record.deletedAt < limit else { continue }
                let prefix = "apps/\(record.app)/epochs/"
                let deletion = try EpochRecord.key(record.app, record.epoch)
                let old = try await store.listAll(prefix: prefix).map(\.key).filter { key in
                    let epoch = Int(key.path.dropFirst(prefix.count).prefix { $0.isNumber })
                    return epoch.map { $0 <= record.epoch } ?? false && key != deletion
                }
                let store = store
                try await forEachConcurrently(old, width: 8) { try await store.delete($0) }
                try await store.delete(object.key)
                logger.info(
                    "the replicas of a deleted app were removed",
                    metadata: ["app": "\(record.app)", "objects": "\(old.count)"]
                )
            }
        } catch {
            logger.warning("replicas of deleted apps were not removed", metadata: ["error": "\(error)"])
        }
    }
}
