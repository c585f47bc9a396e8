import Control
package import Foundation
import NIOCore
import Storage

/// What is known of an epoch of an app beside its replicas: `apps/<app>/epochs/<epoch>.json`.
///
/// It is written once everything that the epoch begins with is in the store. So the newest epoch with a record is the one
/// that holds the app's data, however a placement was interrupted. Only the epoch's owner writes it.
package struct EpochRecord: Codable, Sendable, Equatable {
    package var epoch: Int
    package var host: String
    package var begunAt: Date
    /// Where its databases came from; nil for an epoch that began empty.
    package var origin: Origin?
    /// The replicas of databases that the app removed or replaced under this epoch, by their folder, and when.
    package var removed: [String: Date] = [:]
    /// The app was deleted: the epoch holds nothing.
    package var isDeletion = false

    package struct Origin: Codable, Sendable, Equatable {
        package var app: String
        package var epoch: Int
        /// The time that was asked for, where it was not the newest state.
        package var time: Date?

        package init(app: String, epoch: Int, time: Date? = nil) {
            self.app = app
            self.epoch = epoch
            self.time = time
        }
    }

    package init(epoch: Int, host: String, begunAt: Date, origin: Origin?) {
        self.epoch = epoch
        self.host = host
        self.begunAt = begunAt
        self.origin = origin
    }

    static func key(_ app: String, _ epoch: Int) throws -> ObjectKey {
        try ObjectKey("apps/\(app)/epochs/\(epoch).json")
    }

    static func read(_ app: String, _ epoch: Int, in store: any ObjectStore) async throws -> EpochRecord? {
        guard let object = try await store.find(try key(app, epoch)) else { return nil }
        let bytes = try await object.bytes(upTo: 1 << 20)
        do {
            return try JSONFormat.decoder().decode(EpochRecord.self, from: Data(bytes.readableBytesView))
        } catch {
            throw StorageError(
                .corrupt,
                "read \(try key(app, epoch)) in \(store.location): it is not the record of an epoch",
                cause: error
            )
        }
    }

    func write(_ app: String, to store: any ObjectStore) async throws {
        let bytes = ByteBuffer(bytes: try JSONFormat.encoder().encode(self))
        try await store.put(try Self.key(app, epoch), .bytes(bytes))
    }

    /// The newest epoch at or below `epoch` that was begun; nil when the app never had data.
    ///
    /// An epoch without a record is one whose placement did not come to its end. There are few in a row.
    static func newest(_ app: String, from epoch: Int, in store: any ObjectStore) async throws -> EpochRecord?
    {
        var candidate = epoch
        while candidate > 0, epoch - candidate < 10_000 {
            if let record = try await read(app, candidate, in: store) { return record }
            candidate -= 1
        }
        return nil
    }
}
