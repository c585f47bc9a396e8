import Glibc
import Synchronization

/// Whether a watched folder may hold a database that the last scan did not see.
final class FolderNews: Sendable {
    private struct State {
        /// Grows with every notice.
        var notices = 1
        /// How many there were when the last scan began whose findings are known to all.
        var scanned = 0
        /// Files that belong to databases that are known: what happens to them tells of no new one.
        var companions: Set<String> = []
        var databases: Set<String> = []
        var undecided: [String] = []
        /// Every folder has a watch, so that no news is good news.
        var isWatched = false
        /// Files were left out: what becomes of them gives no notice.
        var isIncomplete = false
        var omission: String?
    }

    private let state = Mutex(State())

    /// What happens from now on is after the scan.
    ///
    /// Returns what `scanned` is to be given.
    func scanBegins() -> Int { state.withLock { $0.notices } }

    func scanned(_ scan: DatabaseScan, begunAt notices: Int, isWatched: Bool) {
        var companions: Set<String> = []
        for database in scan.databases {
            let files = DatabaseFiles(path: database.name)
            companions.formUnion([files.log, files.logIndex, files.journal])
            let folder = files.replicationFolder
            companions.insert(folder.hasPrefix("./") ? String(folder.dropFirst(2)) : folder)
        }
        state.withLock {
            $0.companions = companions
            $0.databases = Set(scan.databases.map(\.name))
            $0.undecided = scan.undecided
            $0.isWatched = isWatched
            $0.isIncomplete = scan.hasMoreUndecided || scan.omission != nil
            $0.omission = scan.omission
            $0.scanned = max($0.scanned, notices)
        }
    }

    /// A notice about the file at `path` below the root.
    func note(_ path: String, _ mask: UInt32) {
        state.withLock { state in
            if state.companions.contains(path) { return }
            let isEndOfWriting = mask & UInt32(IN_CLOSE_WRITE) != 0
            if isEndOfWriting, state.databases.contains(path) { return }
            state.notices += 1
        }
    }

    func overflow() { state.withLock { $0.notices += 1 } }

    /// Whether a scan is due, as far as notices tell; and the files that had no header yet.
    var look: (isDirty: Bool, undecided: [String]) {
        state.withLock { ($0.notices != $0.scanned || !$0.isWatched || $0.isIncomplete, $0.undecided) }
    }

    var omission: String? { state.withLock(\.omission) }
}

/// Says whether a watched folder may hold a database that the last scan did not see, exactly at the moment of the call.
package struct FolderNewsReader: Sendable {
    let root: String
    let news: FolderNews
    let notices: Notices

    /// Which limit has kept the last scan from finding all databases, if one has.
    package var omission: String? { news.omission }

    /// Costs one system call while nothing happens, and one for each file that is still too short.
    package func needsScan() -> Bool {
        notices.read()
        let (isDirty, undecided) = news.look
        if isDirty { return true }
        // A file that was empty may have become a database without a notice: writes give none.
        for path in undecided {
            var status = stat()
            if stat("\(root)/\(path)", &status) == 0, Int(status.st_size) >= DatabaseHeader.byteCount {
                return true
            }
        }
        return false
    }
}
