import FoundationEssentials
import Glibc
import NIOCore
import Storage
import Synchronization

extension LitestreamReplicator {
    /// Copies inside the store the files that give `position`, and tells Litestream that the local database is there.
    ///
    /// Litestream takes its own position from the newest file in its folder beside the database, and the replica's from
    /// the newest single transaction in the store. So: the store gets copies up to transaction T; the folder gets a
    /// file for T+1 that changes nothing and says that the log was read up to its header, with the log's salts; then
    /// Litestream reads the log from there. All this is as version 0.5.17 does it; a test holds it to that.
    package func resume(
        _ database: ReplicatedDatabase,
        from old: ReplicaLocation,
        at position: ReplicaPosition
    ) async throws -> ReplicaPosition {
        try await copyReplica(old, to: database.replica, at: position.transaction)
        let log = try await beginLog(of: database, at: position)
        let resumed = try await watch(database)
        log.close()
        return resumed
    }

    /// The second half of ``resume(_:from:at:)``, for a database whose log was begun before; it may be in use already.
    ///
    /// When it fails it can be called again.
    package func resume(
        _ database: ReplicatedDatabase,
        from old: ReplicaLocation,
        at position: ReplicaPosition,
        with log: BegunLog
    ) async throws -> ReplicaPosition {
        try await copyReplica(old, to: database.replica, at: position.transaction)
        let resumed = try await watch(database)
        log.close()
        return resumed
    }

    /// The first half of ``resume(_:from:at:)``: makes a database ready to be opened, so that what is written to it from then
    /// on goes on with its replica.
    package func beginLog(
        of database: ReplicatedDatabase,
        at position: ReplicaPosition
    ) async throws -> BegunLog {
        let files = DatabaseFiles(path: database.path)
        if try await localPosition(files) == position.transaction { return BegunLog(nil) }
        return try await fileWork("resume \(database.path)") {
            BegunLog(try Self.seed(files, after: position.transaction))
        }
    }

    /// What of a replica is in the one that will go on with it.
    struct PreparedCopy {
        var keys: Set<ObjectKey>
        /// The chain is there up to this transaction.
        var reached: UInt64
        /// The file of that transaction alone is there, by which Litestream knows the replica's position.
        var hasSingle: Bool
        var singlesFolder: String
    }

    /// Copies ahead what ``resume(_:from:at:)`` will need of a replica that is still being written, so that little is left.
    ///
    /// Whoever continues `old` as `new` has all that is copied, because nothing is ever taken back of a replica; so it does
    /// no harm if another does than this host.
    package func prepareResume(_ old: ReplicaLocation, as new: ReplicaLocation) async throws {
        let objects = try await objects(of: old)
        guard let newest = objects.map(\.maxTransaction).max() else { return }
        let (store, plan) = (store, RestorePlan(objects, upTo: newest))
        guard let last = plan.last, last.maxTransaction == newest else { return }
        let single = objects.first { $0.level == 0 && $0.maxTransaction == newest }
        let wanted = Set(plan.objects + [single].compactMap { $0 })
        do {
            try await forEachConcurrently(Array(wanted), width: 16) { object in
                let name = object.key.path.dropFirst(old.prefix.path.utf8.count + 1)
                try await store.copy(object.key, to: try new.prefix.appending(String(name)))
            }
        } catch let error as StorageError where error.code == .notFound {
            return  // A compaction removed a file meanwhile: then all is copied later.
        } catch {
            throw storeError("copy \(old) ahead as \(new)", error)
        }
        preparedCopies[new] = PreparedCopy(
            keys: Set(wanted.map(\.key)),
            reached: newest,
            hasSingle: single != nil,
            singlesFolder: last.singlesFolder
        )
    }

    /// Copies ahead what is missing up to a transaction, which the replica has.
    func copyAhead(
        _ old: ReplicaLocation,
        as new: ReplicaLocation,
        upTo transaction: UInt64
    ) async throws {
        guard let prepared = preparedCopies[new], prepared.reached < transaction else { return }
        let missing = Array(prepared.reached + 1...transaction)
        do {
            try await forEachConcurrently(missing, width: 16) {
                try await self.copySingle($0, prepared.singlesFolder, old, new)
            }
            guard preparedCopies[new]?.reached == prepared.reached else { return }
            for number in missing {
                preparedCopies[new]?.keys.insert(
                    try old.prefix.appending("\(prepared.singlesFolder)/\(LTXObject.name(of: number))")
                )
            }
            preparedCopies[new]?.reached = transaction
            preparedCopies[new]?.hasSingle = true
        } catch let error as StorageError where error.code == .notFound {
            // A compaction removed it: then it is copied later with others.
        } catch {
            throw storeError("copy \(old) ahead as \(new)", error)
        }
    }

    private func copySingle(
        _ transaction: UInt64,
        _ folder: String,
        _ old: ReplicaLocation,
        _ new: ReplicaLocation
    ) async throws {
        let name = "\(folder)/\(LTXObject.name(of: transaction))"
        try await store.copy(try old.prefix.appending(name), to: try new.prefix.appending(name))
    }

    /// Forgets what was copied ahead.
    package func abandonResume(_ new: ReplicaLocation) { preparedCopies[new] = nil }

    /// Copies the single transactions that are missing, where all before them was copied ahead.
    ///
    /// Returns whether that was all.
    private func completeCopy(
        _ old: ReplicaLocation,
        to new: ReplicaLocation,
        at transaction: UInt64
    ) async throws -> Bool {
        guard let prepared = preparedCopies[new] else { return false }
        guard prepared.reached <= transaction else {
            // It went on after its owner had ended: nothing of that is the database's.
            preparedCopies[new] = nil
            try await store.deleteAll(prefix: new.prefix.path + "/")
            return false
        }
        guard prepared.reached < transaction || prepared.hasSingle else { return false }
        let missing = Array(stride(from: prepared.reached + 1, through: transaction, by: 1))
        do {
            try await forEachConcurrently(missing, width: 16) {
                try await self.copySingle($0, prepared.singlesFolder, old, new)
            }
        } catch let error as StorageError where error.code == .notFound {
            return false
        }
        preparedCopies[new] = nil
        return true
    }

    private func copyReplica(
        _ old: ReplicaLocation,
        to new: ReplicaLocation,
        at transaction: UInt64
    ) async throws {
        var attempt = 0
        while true {
            attempt += 1
            do {
                if try await completeCopy(old, to: new, at: transaction) { return }
                let objects = try await objects(of: old)
                let plan = RestorePlan(objects, upTo: transaction)
                guard let last = plan.last, last.maxTransaction == transaction else {
                    throw ReplicationError(
                        .damaged,
                        "continue \(old) as \(new): it does not hold transaction \(transaction)",
                        lastGood: plan.last.map {
                            RestorePoint(transaction: $0.maxTransaction, time: $0.time)
                        }
                    )
                }
                // The single transaction by which Litestream knows the replica's position, where compaction left it.
                let single = objects.first { $0.level == 0 && $0.maxTransaction == transaction }
                let prepared = preparedCopies.removeValue(forKey: new)?.keys ?? []
                let wanted = Set(plan.objects + [single].compactMap { $0 })
                    .filter { !prepared.contains($0.key) }
                let store = store
                try await forEachConcurrently(Array(wanted), width: 16) { object in
                    let name = object.key.path.dropFirst(old.prefix.path.utf8.count + 1)
                    try await store.copy(object.key, to: try new.prefix.appending(String(name)))
                }
                if single == nil { try await writePosition(transaction, like: last, of: old, to: new) }
                return
            } catch let error as StorageError where error.code == .notFound && attempt < 5 {
                continue  // A compaction removed a file meanwhile.
            } catch {
                throw storeError("continue \(old) as \(new)", error)
            }
        }
    }

    /// A single transaction without pages, for a replica whose last transaction is only in a compacted file.
    ///
    /// A restore takes the compacted file before it, because that begins earlier or is at a higher level.
    private func writePosition(
        _ transaction: UInt64,
        like last: LTXObject,
        of old: ReplicaLocation,
        to new: ReplicaLocation
    ) async throws {
        guard var header = try await header(of: last) else {
            throw ReplicationError(.damaged, "continue \(old): \(last.key) has no LTX header")
        }
        header.minTransaction = transaction
        header.maxTransaction = transaction
        header.flags |= LTXHeader.noChecksum
        header.preApplyChecksum = 0
        let key = try new.prefix.appending("\(last.singlesFolder)/\(LTXObject.name(of: transaction))")
        try await store.put(key, .bytes(ByteBuffer(bytes: LTXFile.withoutPages(header))))
    }

    /// The last transaction in Litestream's folder beside a database that it replicated before; nil without one.
    private func localPosition(_ files: DatabaseFiles) async throws -> UInt64? {
        try await fileWork("look at \(files.path)") {
            try FileSystem.names(in: files.replicationFolder + "/ltx/0").compactMap { name, _ in
                UInt64(name.prefix(16), radix: 16)
            }.max()
        }
    }

    /// Begins a log and writes the file that stands for its start.
    ///
    /// The connection given back keeps the log.
    private static func seed(_ files: DatabaseFiles, after transaction: UInt64) throws -> SQLiteConnection {
        try files.removeCompanions()
        let before = try OpenFile(files.path, flags: O_RDONLY)
        guard let bytes = try before.read(upTo: DatabaseHeader.byteCount),
            let header = DatabaseHeader(bytes.readableBytesView)
        else { throw ReplicationError(.invalid, "resume \(files.path): it is no SQLite database") }
        let connection = try SQLiteConnection(files.path, .readWrite)
        try connection.execute(
            "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=normal"
        )
        // The database as it was replicated; where it had no log before, SQLite has just noted in its first page that
        // it has one now, which the log that begins below repeats.
        let pages = Int(try before.status().st_size) / header.pageSize
        // Litestream's own table; writing to it begins the log.
        try connection.execute(
            """
            CREATE TABLE IF NOT EXISTS _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
            INSERT INTO _litestream_seq VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET seq = seq + 1;
            """
        )
        guard let log = try OpenFile(files.log, flags: O_RDONLY).read(upTo: 32), log.readableBytes == 32,
            let salt1 = log.getInteger(at: 16, as: UInt32.self),
            let salt2 = log.getInteger(at: 20, as: UInt32.self)
        else { throw ReplicationError(.failed, "resume \(files.path): SQLite began no log") }
        let next = transaction + 1
        let file = LTXHeader(
            flags: LTXHeader.noChecksum,
            pageSize: UInt32(header.pageSize),
            commit: UInt32(pages),
            minTransaction: next,
            maxTransaction: next,
            timestamp: Int64(Date().timeIntervalSince1970 * 1000),
            walOffset: 32,
            walSize: 0,
            walSalt1: salt1,
            walSalt2: salt2
        )
        // Nothing here is flushed: after the machine has lost its power, either nothing of this placement counts, or Litestream
        // begins with the whole database.
        let folder = files.replicationFolder + "/ltx/0"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let seed = try OpenFile("\(folder)/\(LTXObject.name(of: next))", flags: O_WRONLY | O_CREAT | O_EXCL)
        try seed.write(ByteBuffer(bytes: LTXFile.withoutPages(file)))
        return connection
    }
}

/// Keeps the log of a database that was made ready, until Litestream has it: closing the last connection would empty it.
///
/// Unchecked, because the connection is only ever closed, under the lock.
package final class BegunLog: @unchecked Sendable {
    private let lock = Mutex(())
    private var connection: SQLiteConnection?

    init(_ connection: SQLiteConnection?) { self.connection = connection }

    func close() { lock.withLock { _ in connection = nil } }
}
