import Glibc
import Storage

/// Litestream's files of single transactions beside a database, kept few.
///
/// Litestream lists that folder twice for each sync, and by itself removes a file only a while after a compaction: at a few
/// hundred syncs a second they become thousands, and each thousand adds about two milliseconds to every sync. What is in the
/// replica it needs here only to know where it is (the newest file), and to spare a compaction the download of what is new.
enum LocalTransactions {
    /// How many stay: with a compaction every 10 s, up to 25 syncs a second need no download.
    static let keptCount = 256
    /// After how many syncs it is worth looking again.
    static let interval = 64

    /// The names of files that can go: those whose transactions are in the replica, but for the newest.
    static func removable(_ names: [String], replicated: UInt64, keeping count: Int = keptCount) -> [String] {
        let files = names.compactMap { name in last(name).map { (name: name, last: $0) } }
            .sorted { $0.last < $1.last }
        return files.dropLast(count).filter { $0.last < replicated }.map(\.name)
    }

    /// Removes what can go of a database's files.
    static func trim(_ files: DatabaseFiles, replicated: UInt64) throws {
        let folder = files.replicationFolder + "/ltx/0"
        let names = try FileSystem.names(in: folder, followingLink: false).filter { !$0.isFolder }.map(\.name)
        for name in removable(names, replicated: replicated) { try FileSystem.remove("\(folder)/\(name)") }
    }

    /// The last transaction of a file, by its name.
    private static func last(_ name: String) -> UInt64? {
        guard name.utf8.count == 37, name.hasSuffix(".ltx"), name.dropFirst(16).first == "-" else {
            return nil
        }
        return UInt64(name.dropFirst(17).prefix(16), radix: 16)
    }
}
