import Glibc
package import NIOCore

/// What an object is written from: bytes in memory, a file, or a stream.
package struct ObjectBody: Sendable {
    enum Source: Sendable {
        case bytes(ByteBuffer)
        case file(path: String)
        case stream(any AsyncSequence<ByteBuffer, any Error> & Sendable)
    }

    let source: Source

    /// Bytes in memory.
    package static func bytes(_ bytes: ByteBuffer) -> ObjectBody {
        ObjectBody(source: .bytes(bytes))
    }

    /// The UTF-8 bytes of a string.
    package static func string(_ string: String) -> ObjectBody {
        .bytes(ByteBuffer(string: string))
    }

    /// The content of a file, read piece by piece.
    package static func file(_ path: String) -> ObjectBody {
        ObjectBody(source: .file(path: path))
    }

    /// A stream of any length, which is read once and as fast as the store takes it.
    package static func stream(_ stream: any AsyncSequence<ByteBuffer, any Error> & Sendable) -> ObjectBody {
        ObjectBody(source: .stream(stream))
    }

    /// Calls `body` with every piece in order; pieces of files and memory are at most `pieceBytes`.
    func forEachPiece(pieceBytes: Int, _ body: (ByteBuffer) async throws -> Void) async throws {
        switch source {
        case .bytes(var bytes):
            while let piece = bytes.readSlice(length: min(pieceBytes, bytes.readableBytes)),
                piece.readableBytes > 0
            {
                try await body(piece)
            }
        case .file(let path):
            let file = try await blocking { try OpenFile(path, flags: O_RDONLY) }
            while let piece = try await blocking({ try file.read(upTo: pieceBytes) }) {
                try await body(piece)
            }
        case .stream(let stream):
            for try await piece in stream where piece.readableBytes > 0 { try await body(piece) }
        }
    }
}

/// An object opened for reading.
package struct StoredObject: Sendable {
    package let info: ObjectInfo
    /// The bytes, to be read once.
    package let content: ObjectContent

    /// The whole content, which must not be larger than `limitBytes`.
    ///
    /// - Throws: `StorageError` with the code `unexpected` when it is larger, `corrupt` when its checksum is wrong.
    package func bytes(upTo limitBytes: Int) async throws -> ByteBuffer {
        var all = ByteBuffer()
        for try await piece in content {
            guard all.readableBytes + piece.readableBytes <= limitBytes else {
                throw StorageError(.unexpected, "read \(info.key): it has more than \(limitBytes) bytes")
            }
            all.writeImmutableBuffer(piece)
        }
        return all
    }

    /// Writes the whole content to a new file, flushed to the disk; `progress` is told of each piece's bytes.
    ///
    /// The file appears under its name only when it is complete.
    package func write(toFile path: String, progress: (Int64) -> Void = { _ in }) async throws {
        let partial = path + ".partial"
        do {
            let file = try await blocking { try OpenFile(partial, flags: O_WRONLY | O_CREAT | O_TRUNC) }
            for try await piece in content {
                try await blocking { try file.write(piece) }
                progress(Int64(piece.readableBytes))
            }
            try await blocking {
                try file.synchronize()
                try FileSystem.rename(partial, to: path)
                try FileSystem.synchronizeFolder(of: path)
            }
        } catch {
            // Nothing to do when the partial file can't be removed: the error that matters is the one thrown.
            try? FileSystem.remove(partial)
            throw error
        }
    }
}

/// The bytes of an object, as a sequence to be read once.
package struct ObjectContent: AsyncSequence, Sendable {
    package typealias Element = ByteBuffer
    package typealias Failure = any Error

    /// Gives the next piece, or nil at the end; called by one task at a time.
    let next: @Sendable () async throws -> ByteBuffer?

    package struct AsyncIterator: AsyncIteratorProtocol {
        let advance: @Sendable () async throws -> ByteBuffer?

        package mutating func next() async throws -> ByteBuffer? {
            try await advance()
        }
    }

    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(advance: next)
    }
}
