import FoundationEssentials
import Glibc

extension FolderStore {
    package func list(prefix: String, after: ObjectKey?, limit: Int) async throws -> ObjectPage {
        let limit = max(1, min(limit, 1000))
        return try await reporting("list \(prefix)") {
            try await blocking {
                var walk = Walk(root: self.root, prefix: prefix, after: after?.path, wanted: limit + 1)
                try walk.visit("")
                return ObjectPage(objects: Array(walk.found.prefix(limit)), isLast: walk.found.count <= limit)
            }
        }
    }

    /// Walks the folders in the order of the keys' bytes, and only into those that can hold wanted keys.
    private struct Walk {
        let root: String
        let prefix: String
        let after: String?
        let wanted: Int
        var found: [ObjectInfo] = []

        /// Visits what is under `path`: empty, or a key's first components with a slash at the end.
        mutating func visit(_ path: String) throws {
            var names = try FileSystem.names(in: "\(root)/\(path)").map {
                $0.isFolder ? $0.name + "/" : $0.name
            }
            names.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            for name in names where !(path.isEmpty && FolderStore.isReserved(String(name.dropLast()))) {
                guard found.count < wanted else { return }
                let candidate = path + name
                if name.hasSuffix("/") {
                    let mayMatch =
                        candidate.utf8.starts(with: prefix.utf8) || prefix.utf8.starts(with: candidate.utf8)
                    guard mayMatch, !isWhollyBefore(candidate) else { continue }
                    try visit(candidate)
                } else if candidate.utf8.starts(with: prefix.utf8) {
                    try add(candidate)
                }
            }
        }

        private mutating func add(_ path: String) throws {
            if let after, !after.utf8.lexicographicallyPrecedes(path.utf8) { return }
            // Names that are no keys (control characters) can't be objects of this store.
            guard let key = try? ObjectKey(path) else { return }
            var status = stat()
            guard lstat("\(root)/\(path)", &status) == 0 else { return }  // Removed meanwhile.
            guard status.st_mode & S_IFMT == S_IFREG else { return }
            found.append(
                ObjectInfo(key: key, sizeBytes: Int64(status.st_size), modified: status.modified, etag: nil)
            )
        }

        private func isWhollyBefore(_ folder: String) -> Bool {
            guard let after else { return false }
            return folder.utf8.lexicographicallyPrecedes(after.utf8) && !after.utf8.starts(with: folder.utf8)
        }
    }
}

/// Runs `body`; errors of files become `StorageError`s that say what was tried.
func reportingFileErrors<Result>(_ action: String, _ body: () async throws -> Result) async throws -> Result {
    do {
        return try await body()
    } catch let error as FileError {
        switch error.number {
        case ENOENT, ENOTDIR:
            throw StorageError(.notFound, "\(action): there is no such object", cause: error)
        case ENOSPC, EDQUOT: throw StorageError(.full, "\(action): no space left", cause: error)
        case EACCES, EPERM, EROFS: throw StorageError(.denied, "\(action): not permitted", cause: error)
        case EISDIR, EEXIST:
            throw StorageError(.invalid, "\(action): other objects are below this key", cause: error)
        default: throw StorageError(.unavailable, action, cause: error)
        }
    }
}
