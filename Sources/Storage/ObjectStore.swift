package import FoundationEssentials

/// A place for objects: bytes under keys, written whole, with conditional writes.
///
/// Every call throws `StorageError`. A write is visible to every reader, in whole, once the call has returned, and is
/// never seen in part. Objects survive a crash of the writer and of the machine once the write has returned.
package protocol ObjectStore: Sendable {
    /// Writes an object.
    ///
    /// - Returns: the version written, to be given to a later `WriteCondition.matches`.
    /// - Throws: `conditionFailed` when the condition does not hold; the object is then untouched.
    func put(_ key: ObjectKey, _ body: ObjectBody, if condition: WriteCondition) async throws -> ETag

    /// Opens an object, or the bytes of it in `range`, for reading once.
    ///
    /// - Throws: `notFound`. Reading the content throws `corrupt` when its checksum is not the one written.
    func get(_ key: ObjectKey, range: Range<Int64>?) async throws -> StoredObject

    /// What is known of an object without reading it, or nil when there is none.
    func head(_ key: ObjectKey) async throws -> ObjectInfo?

    /// Removes an object. Removing one that is not there is no error.
    func delete(_ key: ObjectKey) async throws

    /// The objects whose keys start with `prefix` and come after `after`, in the order of their keys' bytes.
    ///
    /// `limit`: at most this many, and at most 1,000.
    func list(prefix: String, after: ObjectKey?, limit: Int) async throws -> ObjectPage

    /// Copies an object inside the store, without moving its bytes through this process.
    ///
    /// - Throws: `notFound` when there is no object under `source`.
    func copy(_ source: ObjectKey, to target: ObjectKey) async throws

    /// Where this store is, for messages: never with credentials.
    var location: String { get }
}

/// When a write may happen.
package enum WriteCondition: Sendable, Hashable {
    /// Whatever is there.
    case always
    /// Only when there is no object under the key.
    case absent
    /// Only when the object is this version.
    case matches(ETag)
}

/// One version of an object, opaque.
///
/// Equal content may have equal versions.
package struct ETag: Hashable, Sendable, CustomStringConvertible {
    package let value: String

    package init(_ value: String) {
        self.value = value
    }

    package var description: String { value }
}

/// What is known of an object.
package struct ObjectInfo: Sendable, Hashable {
    package let key: ObjectKey
    package let sizeBytes: Int64
    /// When it was written, by the store's clock.
    package let modified: Date
    /// The version; nil in listings, where a folder would have to read every object to tell.
    package let etag: ETag?

    package init(key: ObjectKey, sizeBytes: Int64, modified: Date, etag: ETag?) {
        self.key = key
        self.sizeBytes = sizeBytes
        self.modified = modified
        self.etag = etag
    }
}

/// A part of a listing.
package struct ObjectPage: Sendable {
    package let objects: [ObjectInfo]
    /// True when nothing comes after the last object of this page.
    package let isLast: Bool

    package init(objects: [ObjectInfo], isLast: Bool) {
        self.objects = objects
        self.isLast = isLast
    }
}

extension ObjectStore {
    /// Writes an object whatever is there.
    @discardableResult
    package func put(_ key: ObjectKey, _ body: ObjectBody) async throws -> ETag {
        try await put(key, body, if: .always)
    }

    /// Opens a whole object.
    package func get(_ key: ObjectKey) async throws -> StoredObject {
        try await get(key, range: nil)
    }

    /// Opens a whole object, or nil when there is none.
    package func find(_ key: ObjectKey) async throws -> StoredObject? {
        do {
            return try await get(key, range: nil)
        } catch let error as StorageError where error.code == .notFound {
            return nil
        }
    }

    /// Every object whose key starts with `prefix`, page by page.
    ///
    /// `limit`: throws `unexpected` beyond this many, so that no listing grows without bound.
    package func listAll(prefix: String, limit: Int = 1_000_000) async throws -> [ObjectInfo] {
        var objects: [ObjectInfo] = []
        while true {
            let page = try await list(prefix: prefix, after: objects.last?.key, limit: 1000)
            objects += page.objects
            if page.isLast { return objects }
            guard objects.count < limit, !page.objects.isEmpty else {
                throw StorageError(.unexpected, "list \(prefix) in \(location): more than \(limit) objects")
            }
        }
    }

    /// Removes every object whose key starts with `prefix`, eight at a time.
    ///
    /// - Returns: how many there were.
    @discardableResult
    package func deleteAll(prefix: String) async throws -> Int {
        let objects = try await listAll(prefix: prefix)
        try await forEachConcurrently(objects, width: 8) { try await self.delete($0.key) }
        return objects.count
    }
}

/// Runs `body` for every element, at most `width` at a time; the first error cancels the rest.
package func forEachConcurrently<Element: Sendable>(
    _ elements: [Element],
    width: Int,
    _ body: @escaping @Sendable (Element) async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        var rest = elements.makeIterator()
        for _ in 0..<max(1, width) {
            guard let element = rest.next() else { break }
            group.addTask { try await body(element) }
        }
        while try await group.next() != nil {
            guard let element = rest.next() else { continue }
            group.addTask { try await body(element) }
        }
    }
}
