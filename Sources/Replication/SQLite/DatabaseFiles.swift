import Glibc
import Storage

/// The files that belong to a database: its own, those of SQLite and those of replication.
package struct DatabaseFiles: Sendable, Hashable {
    package let path: String

    package init(path: String) { self.path = path }

    package var log: String { path + "-wal" }
    package var logIndex: String { path + "-shm" }
    package var journal: String { path + "-journal" }
    /// How far a follower is.
    package var followerPosition: String { path + "-txid" }
    /// The folder in which Litestream keeps what it needs to go on.
    package var replicationFolder: String { "\(folder)/.\(name)-litestream" }

    package var folder: String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    package var name: String { path.split(separator: "/").last.map(String.init) ?? path }

    /// Removes all that lies beside the database.
    ///
    /// What is left beside a restored database would corrupt it.
    package func removeCompanions() throws {
        for file in [log, logIndex, journal, followerPosition, followerPosition + ".tmp"] {
            try FileSystem.remove(file)
        }
        try Self.removeFolder(replicationFolder)
    }

    /// Removes the database and all that lies beside it.
    package func removeAll() throws {
        try FileSystem.remove(path)
        try removeCompanions()
    }

    /// Removes a folder with all that is in it; one that is not there is no error.
    ///
    /// A symbolic link in its place is removed and not followed: apps can write where databases are.
    package static func removeFolder(_ path: String) throws {
        for (name, isFolder) in try FileSystem.names(in: path, followingLink: false) {
            if isFolder {
                try removeFolder("\(path)/\(name)")
            } else {
                try FileSystem.remove("\(path)/\(name)")
            }
        }
        guard rmdir(path) == 0 || errno == ENOENT || (errno == ENOTDIR && unlink(path) == 0) else {
            throw ReplicationError(.failed, "remove \(path): \(String(cString: strerror(errno)))")
        }
    }
}
