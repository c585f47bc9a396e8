import AsyncHTTPClient
import Crypto
import NIOCore

/// The body of an object on its way: goes on where it was when the connection breaks, and checks what came.
final class S3Content: @unchecked Sendable {
    // An object's content is read by one task at a time, as `ObjectContent` says; nothing else touches this state.
    private let store: S3Store
    private let key: ObjectKey
    private let info: ObjectInfo
    private var iterator: HTTPClientResponse.Body.AsyncIterator
    private var offset: Int64
    /// Bytes still to come, where the server said how many there are.
    private var remaining: Int64?
    private let expectedHash: String?
    private var hash = SHA256()
    private var resumptions = 0
    private static let resumptionLimit = 5

    init(
        store: S3Store,
        key: ObjectKey,
        info: ObjectInfo,
        body: HTTPClientResponse.Body,
        start: Int64,
        length: Int64?,
        expectedHash: String?
    ) {
        self.store = store
        self.key = key
        self.info = info
        self.iterator = body.makeAsyncIterator()
        self.offset = start
        self.remaining = length
        self.expectedHash = expectedHash
    }

    func next() async throws -> ByteBuffer? {
        while true {
            do {
                guard let piece = try await iterator.next() else { return try finish() }
                offset += Int64(piece.readableBytes)
                remaining = remaining.map { $0 - Int64(piece.readableBytes) }
                if expectedHash != nil { hash.update(piece) }
                return piece
            } catch let error as StorageError {
                throw error
            } catch {
                if Task.isCancelled { throw CancellationError() }
                try await resume(after: error)
            }
        }
    }

    private func finish() throws -> ByteBuffer? {
        if let remaining, remaining != 0 {
            throw StorageError(
                .corrupt,
                "read \(key) from \(store.location): it ended \(remaining) bytes early"
            )
        }
        if let expectedHash, expectedHash != hex(hash.finalize()) {
            throw StorageError(
                .corrupt,
                "read \(key) from \(store.location): its content is not what was written (SHA-256 differs)"
            )
        }
        return nil
    }

    private func resume(after error: any Error) async throws {
        guard let remaining, remaining > 0, resumptions < Self.resumptionLimit else {
            throw StorageError(
                .unavailable,
                "read \(key) from \(store.location): the connection broke",
                cause: error
            )
        }
        resumptions += 1
        let range = offset..<(offset + remaining)
        iterator = try await store.open(key, range: range, matching: info.etag).response.body
            .makeAsyncIterator()
    }
}
