import Glibc

/// The state of a database's write-ahead log at one moment: two equal ones have no commit between them.
///
/// It is the header of the log's index, `<database>-shm`: a number that grows with each transaction, the count of frames,
/// a running checksum over them and the log's salts. SQLite writes it as the last step of a commit, before the call returns.
/// Source: "WAL-mode File Format" on sqlite.org, section 2.1: 48 bytes, twice; writers write the second copy first.
/// A copy that is read while it is being written equals no other.
struct CommitMark: Sendable, Hashable {
    private var words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)

    static let byteCount = 48

    static func == (left: Self, right: Self) -> Bool {
        left.words.0 == right.words.0 && left.words.1 == right.words.1 && left.words.2 == right.words.2
            && left.words.3 == right.words.3 && left.words.4 == right.words.4 && left.words.5 == right.words.5
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(words.1)
        hasher.combine(words.5)
    }

    /// Grows by one with every transaction, for as long as the salts stay the same.
    var transactions: UInt32 { UInt32(truncatingIfNeeded: words.1) }

    /// Tells one log from the next.
    var salts: UInt64 { words.4 }

    /// Reads the mark from an index that is open; nil when there is none in it.
    init?(_ descriptor: Int32) {
        words = (0, 0, 0, 0, 0, 0)
        let count = withUnsafeMutableBytes(of: &words) { pread(descriptor, $0.baseAddress, $0.count, 0) }
        guard count == Self.byteCount, words.0 != 0 else { return nil }
    }
}

/// The index of one database's log, open for as long as its app is awake.
///
/// It is opened only to be read. The kernel drops all of a process's locks on a file when the process closes any descriptor of
/// it, so this process must not use SQLite on the databases of an app that is awake.
final class LogIndex {
    private let path: String
    private var descriptor: Int32 = -1

    init(database path: String) { self.path = path + "-shm" }

    deinit { close() }

    /// The mark now; nil when there is no log, which says nothing of what was committed.
    func mark() -> CommitMark? {
        if descriptor >= 0, isReplaced { close() }
        if descriptor < 0 { descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) }
        return descriptor < 0 ? nil : CommitMark(descriptor)
    }

    /// The last connection that is closed removes the index, and the next one makes another.
    private var isReplaced: Bool {
        var status = stat()
        return fstat(descriptor, &status) != 0 || status.st_nlink == 0
    }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }
}
