import FoundationEssentials
import NIOCore

/// A small JSON record that is changed by conditional writes only, so that of several who change it one wins.
package struct StoredRecord<Value: Codable & Sendable>: Sendable {
    package let key: ObjectKey
    private let store: any ObjectStore
    /// Far above any record of ours, and a bound on what is read into memory.
    private static var limitBytes: Int { 1 << 20 }

    package init(key: ObjectKey, store: any ObjectStore) {
        self.key = key
        self.store = store
    }

    /// A value as it was read, and the version it had.
    package struct Version: Sendable {
        package let value: Value
        package let etag: ETag
    }

    /// The record as it is now; nil when there is none.
    package func read() async throws -> Version? {
        guard let object = try await store.find(key) else { return nil }
        guard let etag = object.info.etag else {
            throw StorageError(.unexpected, "read \(key) in \(store.location): it has no version")
        }
        let bytes = try await object.bytes(upTo: Self.limitBytes)
        do {
            return Version(
                value: try JSONDecoder().decode(Value.self, from: Data(bytes.readableBytesView)),
                etag: etag
            )
        } catch {
            throw StorageError(
                .corrupt,
                "read \(key) in \(store.location): it is not the record expected",
                cause: error
            )
        }
    }

    /// Replaces the version that was read, or makes the record where there was none.
    ///
    /// Two equal values written by different writers could not be told apart after a lost answer; every value of ours
    /// carries something that only its writer has.
    ///
    /// - Throws: `conditionFailed` when someone else changed it since.
    package func write(_ value: Value, replacing version: ETag?) async throws -> Version {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let bytes = ByteBuffer(bytes: try encoder.encode(value))
        let condition = version.map(WriteCondition.matches) ?? .absent
        return Version(value: value, etag: try await store.put(key, .bytes(bytes), if: condition))
    }
}
