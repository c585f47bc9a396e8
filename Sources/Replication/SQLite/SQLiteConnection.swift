import CSQLite
import Storage

/// A connection to an SQLite database, for the few things that replication does with one.
///
/// Straight on the system's SQLite library: a handful of calls do not need an access layer. Not for a database that an
/// app has open in this same process through other means: closing one's file would drop the other's locks.
package final class SQLiteConnection {
    package let path: String
    private var handle: OpaquePointer?

    package enum Mode: Sendable {
        case readOnly
        case readWrite
    }

    /// - Throws: `ReplicationError` with the code `failed`, or `full`.
    package init(_ path: String, _ mode: Mode) throws {
        self.path = path
        let flags = (mode == .readOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX
        guard sqlite3_open_v2(path, &handle, flags, nil) == SQLITE_OK else {
            defer { sqlite3_close_v2(handle) }
            throw error("open")
        }
        sqlite3_busy_timeout(handle, 5000)
    }

    deinit { sqlite3_close_v2(handle) }

    /// Runs statements that give nothing.
    package func execute(_ statements: String) throws {
        guard sqlite3_exec(handle, statements, nil, nil, nil) == SQLITE_OK else { throw error(statements) }
    }

    /// The first column of every row, as text.
    package func column(_ query: String) throws -> [String] {
        var statement: OpaquePointer?
        guard sqlite3_prepare_v2(handle, query, -1, &statement, nil) == SQLITE_OK else { throw error(query) }
        defer { sqlite3_finalize(statement) }
        var values: [String] = []
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW:
                values.append(sqlite3_column_text(statement, 0).map { String(cString: $0) } ?? "")
            case SQLITE_DONE: return values
            default: throw error(query)
            }
        }
    }

    private func error(_ action: String) -> ReplicationError {
        let reason = handle.flatMap { sqlite3_errmsg($0) }.map { String(cString: $0) } ?? "out of memory"
        let code: ReplicationError.Code = sqlite3_errcode(handle) == SQLITE_FULL ? .full : .failed
        return ReplicationError(code, "\(path): \(action): \(reason)")
    }
}

extension SQLiteConnection {
    /// What `PRAGMA integrity_check` says of the database at `path`, other than `ok`: nothing when it is sound.
    package static func integrityProblems(of path: String) async throws -> [String] {
        try await blocking {
            do {
                // Read and write, because the check of a database with a log needs to make the log's index.
                let lines = try SQLiteConnection(path, .readWrite).column("PRAGMA integrity_check(20)")
                return lines.filter { $0 != "ok" }
            } catch let error as ReplicationError where error.code == .failed {
                return ["\(error)"]
            }
        }
    }
}
