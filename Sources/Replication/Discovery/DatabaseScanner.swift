import Glibc

/// A database found in an app's data folder.
package struct FoundDatabase: Sendable, Hashable {
    /// The path below the folder that was scanned.
    package let name: String
    /// The file's number on its device: a database that was replaced by another has another one.
    package let inode: UInt64
}

/// What a scan found.
package struct DatabaseScan: Sendable {
    /// In the order of their names.
    package var databases: [FoundDatabase] = []
    /// Files that are too short to have a header yet, by path below the folder; at most ``undecidedLimit``.
    package var undecided: [String] = []
    /// There are more such files: what becomes of them, only another scan tells.
    package var hasMoreUndecided = false
    /// Which limit has kept files from being looked at, or databases from being replicated.
    package var omission: String?
    /// What could not be looked at, and what is there twice: each says which and why.
    package var problems: [String] = []

    package static let undecidedLimit = 256

    fileprivate mutating func omit(_ what: String) {
        problems.append(what)
        omission = omission ?? what
    }
}

/// Finds the SQLite databases in a folder by the header of each file.
///
/// Apps are not trusted: no symbolic link is followed, not even one that takes a folder's place during the scan; no
/// pipe or device is opened to be read; and the number of entries and the depth have limits. An encrypted database has
/// no readable header and is not found.
package struct DatabaseScanner: Sendable {
    /// How many files and folders one scan looks at.
    package var entryLimit = 100_000
    package var depthLimit = 32
    /// How many databases one folder may have.
    package var databaseLimit = 200

    package init() {}

    /// Scans `root`, which may be missing.
    ///
    /// `entering` is called with the path of each folder before it is listed.
    package func scan(_ root: String, entering: (String) -> Void = { _ in }) -> DatabaseScan {
        var walk = Walk(scanner: self, root: root)
        let descriptor = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno != ENOENT { walk.result.problems.append("\(root): \(String(cString: strerror(errno)))") }
            return walk.result
        }
        walk.visit(descriptor, "", depth: 0, entering)
        walk.result.databases.sort { $0.name < $1.name }
        return walk.result
    }

    /// Whether a file beside a database belongs to it.
    package static func isCompanion(_ name: String) -> Bool {
        ["-wal", "-shm", "-journal", "-txid", ".restoring", ".restoring.proof", ".tmp"].contains {
            name.hasSuffix($0)
        }
    }

    private struct Walk {
        let scanner: DatabaseScanner
        let root: String
        var result = DatabaseScan()
        private var entries = 0
        private var seen: [UInt64: String] = [:]

        init(scanner: DatabaseScanner, root: String) {
            self.scanner = scanner
            self.root = root
        }

        /// Lists an open folder and closes it.
        mutating func visit(_ descriptor: Int32, _ path: String, depth: Int, _ entering: (String) -> Void) {
            entering(path.isEmpty ? root : "\(root)/\(path)")
            guard let stream = fdopendir(descriptor) else {
                close(descriptor)
                return result.problems.append("\(path): \(String(cString: strerror(errno)))")
            }
            defer { closedir(stream) }
            while let entry = readdir(stream) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name == "." || name == ".." { continue }
                entries += 1
                guard entries <= scanner.entryLimit else {
                    if entries == scanner.entryLimit + 1 {
                        result.omit("more than \(scanner.entryLimit) files: the rest was not looked at")
                    }
                    return
                }
                look(
                    at: name,
                    in: descriptor,
                    path.isEmpty ? name : "\(path)/\(name)",
                    depth: depth,
                    entering
                )
            }
        }

        private mutating func look(
            at name: String,
            in folder: Int32,
            _ path: String,
            depth: Int,
            _ entering: (String) -> Void
        ) {
            var status = stat()
            // Removed meanwhile.
            guard fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return }
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                if name.hasPrefix("."), name.hasSuffix("-litestream") { return }
                guard depth < scanner.depthLimit else {
                    return result.omit("\(path): folders deeper than \(scanner.depthLimit)")
                }
                let descriptor = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                if descriptor >= 0 {
                    visit(descriptor, path, depth: depth + 1, entering)
                } else if errno != ENOENT, errno != ENOTDIR, errno != ELOOP {
                    result.problems.append("\(path): \(String(cString: strerror(errno)))")
                }
            case S_IFREG where !DatabaseScanner.isCompanion(name):
                if status.st_size < DatabaseHeader.byteCount {
                    if result.undecided.count < DatabaseScan.undecidedLimit {
                        result.undecided.append(path)
                    } else {
                        result.hasMoreUndecided = true
                    }
                } else if hasHeader(name, in: folder) {
                    add(path, inode: UInt64(status.st_ino))
                }
            default: break
            }
        }

        private func hasHeader(_ name: String, in folder: Int32) -> Bool {
            let descriptor = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard descriptor >= 0 else { return false }
            defer { close(descriptor) }
            var bytes = [UInt8](repeating: 0, count: DatabaseHeader.byteCount)
            guard read(descriptor, &bytes, bytes.count) == bytes.count else { return false }
            return DatabaseHeader(bytes) != nil
        }

        private mutating func add(_ path: String, inode: UInt64) {
            if let other = seen[inode] {
                return result.problems.append(
                    "\(path): it is the same file as \(other); only one of them is replicated"
                )
            }
            guard result.databases.count < scanner.databaseLimit else {
                return result.omit(
                    "\(path): more than \(scanner.databaseLimit) databases; it is not replicated"
                )
            }
            seen[inode] = path
            result.databases.append(FoundDatabase(name: path, inode: inode))
        }
    }
}

/// What became of the databases in a folder between two scans.
package enum DatabaseChange: Sendable, Hashable {
    case found(FoundDatabase)
    /// Removed, or another file has taken its name; then `found` follows for that one.
    case gone(FoundDatabase)

    /// The changes from one scan to the next: those that have gone first.
    package static func between(_ before: [FoundDatabase], _ after: [FoundDatabase]) -> [DatabaseChange] {
        let (old, new) = (Set(before), Set(after))
        return before.filter { !new.contains($0) }.map(DatabaseChange.gone)
            + after.filter { !old.contains($0) }.map(DatabaseChange.found)
    }
}
