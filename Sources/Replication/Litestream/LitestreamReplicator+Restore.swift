import FoundationEssentials
import Glibc
import NIOCore
import Storage
import Supervision

extension LitestreamReplicator {
    package func replicas(below prefix: String) async throws -> [ReplicaLocation] {
        do {
            let keys = try await store.listAll(prefix: prefix).compactMap { LTXObject.replica(of: $0.key) }
            return try Array(Set(keys)).sorted().map { ReplicaLocation(prefix: try ObjectKey($0)) }
        } catch {
            throw storeError("find replicas below \(prefix)", error)
        }
    }

    package func newestPosition(of replica: ReplicaLocation) async throws -> ReplicaPosition? {
        try await objects(of: replica).map(\.maxTransaction).max().map(ReplicaPosition.init)
    }

    package func restore(
        _ replica: ReplicaLocation,
        to path: String,
        at target: RestoreTarget,
        progress: @escaping @Sendable (RestoreProgress) -> Void
    ) async throws -> RestoredDatabase {
        let files = DatabaseFiles(path: path)
        let staging = DatabaseFiles(path: "\(files.folder)/.\(files.name).restoring")
        try await fileWork("restore \(replica) to \(path)") {
            try FileSystem.makeFolders(files.folder)
            try staging.removeAll()
        }
        do {
            let point = try await restoreSound(replica, to: staging.path, at: target, progress: progress)
            let size = try await fileWork("restore \(replica) to \(path)") {
                try files.removeCompanions()
                let file = try OpenFile(staging.path, flags: O_RDWR)
                try file.synchronize()
                try FileSystem.rename(staging.path, to: path)
                // The check made them, and they are of the name that has gone.
                try staging.removeCompanions()
                try FileSystem.synchronizeFolder(of: path)
                return Int64(try file.status().st_size)
            }
            return RestoredDatabase(path: path, point: point, sizeBytes: size)
        } catch {
            try await fileWork("restore \(replica) to \(path)") { try staging.removeAll() }
            throw error
        }
    }

    /// Restores and checks.
    ///
    /// Files that a compaction removed meanwhile are looked for anew.
    private func restoreSound(
        _ replica: ReplicaLocation,
        to path: String,
        at target: RestoreTarget,
        progress: @escaping @Sendable (RestoreProgress) -> Void
    ) async throws -> RestorePoint {
        var attempt = 0
        while true {
            attempt += 1
            let objects = try await objects(of: replica)
            do {
                let plan = try await plan(objects, replica: replica, target: target)
                let point = try await restoreOnce(plan, replica: replica, to: path, progress: progress)
                let problems = try await SQLiteConnection.integrityProblems(of: path)
                guard problems.isEmpty else {
                    throw ReplicationError(
                        .damaged,
                        "restore \(replica): the database fails its integrity check: \(problems.prefix(3).joined(separator: "; "))"
                    )
                }
                return point
            } catch let error as ReplicationError where error.code == .damaged {
                let files = DatabaseFiles(path: path)
                try await fileWork("restore \(replica)") { try files.removeAll() }
                let now = try await self.objects(of: replica)
                if now.map(\.key) != objects.map(\.key), attempt < 4 { continue }
                guard target == .newest else { throw error }
                throw await withLastGood(error, objects: now, replica: replica, scratch: path)
            }
        }
    }

    private func restoreOnce(
        _ plan: RestorePlan,
        replica: ReplicaLocation,
        to path: String,
        progress: @escaping @Sendable (RestoreProgress) -> Void
    ) async throws -> RestorePoint {
        guard let last = plan.last, let header = try await header(of: last) else {
            throw ReplicationError(.damaged, "restore \(replica): its last file has no LTX header")
        }
        let total = Int64(header.commit) * Int64(header.pageSize)
        let output = RecentLines()
        let transaction = hexadecimal(last.maxTransaction)
        let child: ChildProcess
        do {
            child = try ChildProcess(
                .init(
                    executable: settings.executable,
                    arguments: [
                        "restore", "-json", "-txid", transaction, "-o", path, settings.url(of: replica),
                    ],
                    environment: settings.environment,
                    folder: settings.workingFolder
                ),
                output: { output.add($0) }
            )
        } catch {
            throw ReplicationError(.failed, "restore \(replica)", cause: error)
        }
        let status = try await watchProgress(of: child, file: path + ".tmp", total: total, progress)
        guard status.isSuccess else {
            let said = output.all.suffix(3).joined(separator: " | ")
            let action =
                "restore \(replica) at transaction \(last.maxTransaction): litestream restore ended with \(status)"
            if said.contains("no space left") {
                throw ReplicationError(.full, "\(action): no space left for \(path)")
            }
            if Self.unreachableSigns.contains(where: said.contains) {
                throw ReplicationError(.unavailable, "\(action): \(said)")
            }
            throw ReplicationError(.damaged, "\(action): \(said)")
        }
        progress(RestoreProgress(doneBytes: total, totalBytes: total))
        return RestorePoint(transaction: last.maxTransaction, time: header.time)
    }

    /// What Litestream says when it is the store that fails, not the replica.
    private static let unreachableSigns = [
        "connection refused", "connection reset", "i/o timeout", "no such host", "StatusCode: 5", "SlowDown",
        "context deadline exceeded", "EOF, https response error",
    ]

    private func watchProgress(
        of child: ChildProcess,
        file: String,
        total: Int64,
        _ progress: (RestoreProgress) -> Void
    ) async throws -> ChildProcess.ExitStatus {
        var done: Int64 = 0
        var lastChange = ContinuousClock.now
        while child.status == nil {
            do {
                try await Task.sleep(for: .milliseconds(20))
            } catch {
                await child.stop(grace: .seconds(1))
                throw error
            }
            var status = stat()
            if stat(file, &status) == 0, Int64(status.st_size) > done {
                done = Int64(status.st_size)
                lastChange = ContinuousClock.now
                progress(RestoreProgress(doneBytes: min(done, total), totalBytes: total))
            }
            if ContinuousClock.now - lastChange > settings.restoreStall {
                await child.stop(grace: .seconds(1))
                throw ReplicationError(
                    .unavailable,
                    "restore to \(file): no progress for \(settings.restoreStall), \(done) of \(total) bytes"
                )
            }
        }
        return await child.wait()
    }

    // MARK: - Plans

    /// Every file of a replica.
    ///
    /// Throws `noReplica` when there is none.
    func objects(of replica: ReplicaLocation) async throws -> [LTXObject] {
        let objects: [LTXObject]
        do {
            objects = try await store.listAll(prefix: replica.prefix.path + "/").compactMap(LTXObject.init)
                .filter { LTXObject.replica(of: $0.key) == replica.prefix.path }
        } catch {
            throw storeError("read the replica \(replica)", error)
        }
        guard !objects.isEmpty else {
            throw ReplicationError(.noReplica, "restore \(replica): there is no replica in \(store.location)")
        }
        return objects
    }

    private func plan(
        _ objects: [LTXObject],
        replica: ReplicaLocation,
        target: RestoreTarget
    ) async throws -> RestorePlan {
        switch target {
        case .newest: return try RestorePlan.newest(objects, replica: replica)
        case .transaction(let transaction):
            let plan = RestorePlan(objects, upTo: transaction)
            guard plan.last?.maxTransaction == transaction else {
                throw ReplicationError(
                    .noReplica,
                    "restore \(replica) at transaction \(transaction): the replica does not hold that state"
                )
            }
            return plan
        case .time(let time):
            let timed = try await withTimes(objects)
            let plan = RestorePlan(timed.filter { $0.time <= time })
            guard plan.last != nil else {
                let first = timed.map(\.time).min().map { $0.formatted(.iso8601) } ?? "nothing"
                throw ReplicationError(
                    .noReplica,
                    "restore \(replica) at \(time.formatted(.iso8601)): the oldest state there is of \(first)"
                )
            }
            return plan
        }
    }

    /// The files with the times that are in their headers, which copies keep.
    ///
    /// Read 16 at a time.
    func withTimes(_ objects: [LTXObject]) async throws -> [LTXObject] {
        try await withThrowingTaskGroup(of: LTXObject?.self) { group in
            var timed: [LTXObject] = []
            var rest = objects[...]
            for _ in 0..<16 {
                guard let object = rest.popFirst() else { break }
                group.addTask { try await self.timed(object) }
            }
            while let object = try await group.next() {
                if let object { timed.append(object) }
                if let object = rest.popFirst() { group.addTask { try await self.timed(object) } }
            }
            return timed
        }
    }

    /// Nil when the file has gone or has no header.
    private func timed(_ object: LTXObject) async throws -> LTXObject? {
        guard let header = try await header(of: object) else { return nil }
        var timed = object
        timed.time = header.time
        return timed
    }

    func header(of object: LTXObject) async throws -> LTXHeader? {
        do {
            let stored = try await store.get(object.key, range: 0..<Int64(LTXHeader.byteCount))
            return LTXHeader(try await stored.bytes(upTo: LTXHeader.byteCount).readableBytesView)
        } catch let error as StorageError where error.code == .notFound {
            return nil
        } catch {
            throw storeError("read \(object.key)", error)
        }
    }

    func hexadecimal(_ transaction: UInt64) -> String { String(LTXObject.name(of: transaction).prefix(16)) }

    func fileWork<Result: Sendable>(
        _ action: String,
        _ body: @escaping @Sendable () throws -> Result
    ) async throws
        -> Result
    {
        do {
            return try await blocking(body)
        } catch let error as FileError {
            throw ReplicationError(error.number == ENOSPC ? .full : .failed, action, cause: error)
        }
    }

    nonisolated func storeError(_ action: String, _ error: any Error) -> any Error {
        guard let error = error as? StorageError else { return error }
        return ReplicationError(error.code == .corrupt ? .damaged : .unavailable, action, cause: error)
    }
}

extension LTXHeader {
    var time: Date { Date(timeIntervalSince1970: Double(timestamp) / 1000) }
}
