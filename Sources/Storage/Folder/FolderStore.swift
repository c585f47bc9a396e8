import Crypto
import FoundationEssentials
import Glibc
import NIOCore
import Synchronization

/// An object store in a folder of the file system: each object is a file under its key.
///
/// A write goes to a file in `.store/partial` that is flushed and then takes its name in one step, so that a reader
/// sees the old object or the new one, in whole, and a crash leaves one of them. Writes to one key take a lock in
/// `.store/locks` (flock, shared by every process on the machine) while they check their condition and take the name.
/// Versions are the SHA-256 of the content. Nothing else may change a file in place; new files that appear under the
/// folder, as Litestream's do, are objects like any other. Not for network file systems, whose locks differ.
package final class FolderStore: ObjectStore {
    package let root: String
    package var location: String { "folder \(root)" }

    private static let reserved = ".store"
    private var partialFolder: String { "\(root)/\(Self.reserved)/partial" }
    private var lockFolder: String { "\(root)/\(Self.reserved)/locks" }

    /// Opens the store in `root`, an absolute path, which is made when it is not there.
    ///
    /// What writers that died left in `.store/partial` is removed.
    package init(root: String) async throws {
        guard root.hasPrefix("/") else {
            throw StorageError(.invalid, "open the store \(root): the folder must be an absolute path")
        }
        self.root = root.count > 1 && root.hasSuffix("/") ? String(root.dropLast()) : root
        try await act("open the store in", self.root) {
            try FileSystem.makeFolders(self.partialFolder)
            try FileSystem.makeFolders(self.lockFolder)
            try self.removeAbandonedFiles()
        }
    }

    package func put(_ key: ObjectKey, _ body: ObjectBody, if condition: WriteCondition) async throws -> ETag
    {
        let target = try path(of: key)
        return try await reporting("write \(key)") {
            let partial = try await blocking { try self.makePartialFile() }
            defer { unlink(partial.path) }
            var hash = SHA256()
            try await body.forEachPiece(pieceBytes: 1 << 20) { piece in
                hash.update(piece)
                try await blocking { try partial.write(piece) }
            }
            let etag = ETag(hex(hash.finalize()))
            try await blocking {
                try partial.synchronize()
                try self.publish(partial, as: target, key: key, if: condition)
            }
            return etag
        }
    }

    package func get(_ key: ObjectKey, range: Range<Int64>?) async throws -> StoredObject {
        let path = try path(of: key)
        return try await reporting("read \(key)") {
            try await blocking {
                let file = try OpenFile(path, flags: O_RDONLY)
                let status = try file.status()
                guard status.st_mode & S_IFMT == S_IFREG else {
                    throw FileError("open", path, number: ENOENT)
                }
                let etag = try Self.etag(of: file)
                let size = Int64(status.st_size)
                let wanted = (range ?? 0..<size).clamped(to: 0..<size)
                try file.seek(to: wanted.lowerBound)
                let content = FileContent(file: file, count: Int64(wanted.count))
                let info = ObjectInfo(key: key, sizeBytes: size, modified: status.modified, etag: etag)
                return StoredObject(info: info, content: ObjectContent { try await content.next() })
            }
        }
    }

    package func head(_ key: ObjectKey) async throws -> ObjectInfo? {
        let path = try path(of: key)
        do {
            return try await reporting("look at \(key)") {
                try await blocking {
                    let file = try OpenFile(path, flags: O_RDONLY)
                    let status = try file.status()
                    guard status.st_mode & S_IFMT == S_IFREG else { return nil }
                    return ObjectInfo(
                        key: key,
                        sizeBytes: Int64(status.st_size),
                        modified: status.modified,
                        etag: try Self.etag(of: file)
                    )
                }
            }
        } catch let error as StorageError where error.code == .notFound {
            return nil
        }
    }

    package func delete(_ key: ObjectKey) async throws {
        let path = try path(of: key)
        try await act("remove", key.path) {
            try self.withLock(of: key) {
                do { try FileSystem.remove(path) } catch let error as FileError where error.number == ENOTDIR
                { return }
                try? FileSystem.synchronizeFolder(of: path)  // Fails only where the folder has gone as well.
                self.removeEmptyFolders(above: path)
            }
        }
    }

    package func copy(_ source: ObjectKey, to target: ObjectKey) async throws {
        let (sourcePath, targetPath) = (try path(of: source), try path(of: target))
        try await reporting("copy \(source) to \(target)") {
            try await blocking {
                let original = try OpenFile(sourcePath, flags: O_RDONLY)
                // Objects never change in place, so a second name is a copy; a link to a new name in the partial
                // folder fails only where the file system has no links or too many of them.
                let name = self.newPartialName()
                defer { unlink(name) }
                if (try? original.link(to: name)) != true {
                    let copy = try OpenFile(name, flags: O_WRONLY | O_CREAT | O_EXCL)
                    try copy.copyContent(from: original)
                    try copy.setModified(try original.status().st_mtim)
                    try copy.synchronize()
                }
                try self.withLock(of: target) {
                    try self.retryingMissingFolders(of: targetPath) {
                        try FileSystem.rename(name, to: targetPath)
                    }
                    try FileSystem.synchronizeFolder(of: targetPath)
                }
            }
        }
    }

    /// The file that holds an object.
    package func path(of key: ObjectKey) throws -> String {
        guard !key.path.hasPrefix(Self.reserved + "/"), key.path != Self.reserved else {
            throw StorageError(.invalid, "object key \(key): the folder \(Self.reserved) is the store's own")
        }
        return "\(root)/\(key.path)"
    }

    static func isReserved(_ name: String) -> Bool { name == reserved }

    // MARK: - Writing

    private func publish(
        _ partial: OpenFile,
        as target: String,
        key: ObjectKey,
        if condition: WriteCondition
    ) throws {
        try withLock(of: key) {
            switch condition {
            case .always:
                try retryingMissingFolders(of: target) { try FileSystem.rename(partial.path, to: target) }
            case .absent:
                guard try retryingMissingFolders(of: target, { try partial.link(to: target) }) else {
                    throw StorageError(.conditionFailed, "write \(key): it exists already")
                }
            case .matches(let expected):
                // nil: there is none.
                let current: ETag? = try? Self.etag(of: OpenFile(target, flags: O_RDONLY))
                guard current == expected else {
                    let found = current.map { "version \($0)" } ?? "nothing"
                    throw StorageError(
                        .conditionFailed,
                        "write \(key): expected version \(expected), found \(found)"
                    )
                }
                try FileSystem.rename(partial.path, to: target)
            }
            try FileSystem.synchronizeFolder(of: target)
        }
    }

    /// Runs `body`, again when a folder was missing: it is made, and may be removed by others at any time.
    private func retryingMissingFolders<Result>(of path: String, _ body: () throws -> Result) throws -> Result
    {
        for _ in 0..<100 {
            do {
                return try body()
            } catch let error as FileError where error.number == ENOENT {
                try FileSystem.makeFolders(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
            }
        }
        return try body()
    }

    private func withLock<Result>(of key: ObjectKey, _ body: () throws -> Result) throws -> Result {
        let shard = hex(SHA256.hash(data: Array(key.path.utf8)).prefix(1))
        let lock = try OpenFile("\(lockFolder)/\(shard)", flags: O_RDWR | O_CREAT)
        _ = try lock.lock(LOCK_EX)
        return try body()
    }

    private func newPartialName() -> String {
        "\(partialFolder)/\(getpid())-\(hex((0..<8).map { _ in UInt8.random(in: .min ... .max) }))"
    }

    /// A new file that is locked while its writer lives, so that others know not to remove it.
    private func makePartialFile() throws -> OpenFile {
        let file = try OpenFile(newPartialName(), flags: O_RDWR | O_CREAT | O_EXCL)
        _ = try file.lock(LOCK_EX | LOCK_NB)
        return file
    }

    private func removeAbandonedFiles() throws {
        let minuteAgo = time(nil) - 60
        for (name, _) in try FileSystem.names(in: partialFolder) {
            // A file that has gone meanwhile, or that this process may not open, is another's.
            guard let file = try? OpenFile("\(partialFolder)/\(name)", flags: O_RDONLY) else { continue }
            // Young files may belong to a writer that has not locked them yet, or to a copy.
            guard try file.status().st_ctim.tv_sec < minuteAgo, try file.lock(LOCK_EX | LOCK_NB) else {
                continue
            }
            try FileSystem.remove(file.path)
        }
    }

    private func removeEmptyFolders(above path: String) {
        var folder = path
        while let slash = folder.lastIndex(of: "/") {
            folder = String(folder[..<slash])
            guard folder.utf8.count > root.utf8.count, rmdir(folder) == 0 else { return }
        }
    }

    // MARK: - Reading

    private static func etag(of file: OpenFile) throws -> ETag {
        var hash = SHA256()
        try file.seek(to: 0)
        while let piece = try file.read(upTo: 1 << 20) { hash.update(piece) }
        return ETag(hex(hash.finalize()))
    }

    private func act(
        _ action: String,
        _ subject: String,
        _ body: @escaping @Sendable () throws -> Void
    ) async throws {
        try await reporting("\(action) \(subject)") { try await blocking(body) }
    }

    /// Runs `body`; what is not found while the store's own folder is gone too is no answer about an object.
    func reporting<Result>(_ action: String, _ body: () async throws -> Result) async throws -> Result {
        do {
            return try await reportingFileErrors(action, body)
        } catch let error as StorageError where error.code == .notFound {
            var status = stat()
            guard lstat(lockFolder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                throw StorageError(
                    .unavailable,
                    "\(action): the store's folder \(root) is gone",
                    cause: error
                )
            }
            throw error
        }
    }
}

/// The rest of an open file, up to a count of bytes.
///
/// Read by one task at a time.
private final class FileContent: Sendable {
    private let file: OpenFile
    private let remaining: Mutex<Int64>

    init(file: OpenFile, count: Int64) {
        self.file = file
        remaining = Mutex(count)
    }

    func next() async throws -> ByteBuffer? {
        let left = remaining.withLock { $0 }
        guard left > 0 else { return nil }
        guard let piece = try await blocking({ try self.file.read(upTo: Int(min(left, 1 << 18))) }) else {
            throw StorageError(.corrupt, "read \(file.path): it ended \(left) bytes early")
        }
        remaining.withLock { $0 -= Int64(piece.readableBytes) }
        return piece
    }
}

extension stat {
    var modified: Date {
        Date(timeIntervalSince1970: Double(st_mtim.tv_sec) + Double(st_mtim.tv_nsec) / 1e9)
    }
}

extension SHA256 {
    mutating func update(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { update(bufferPointer: $0) }
    }

    /// The digest of the bytes, as hexadecimal digits.
    static func hexDigest(_ bytes: ByteBuffer) -> String {
        var hash = SHA256()
        hash.update(bytes)
        return hex(hash.finalize())
    }
}

/// The bytes as hexadecimal digits.
package func hex(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}
