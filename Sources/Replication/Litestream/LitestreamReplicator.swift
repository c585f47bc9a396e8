import FoundationEssentials
import Glibc
package import Logging
package import Storage
import Supervision

/// Replicates with Litestream: one supervised process for all databases, driven over its control socket.
///
/// ```
///            started, answers, all registered anew
///   down ──────────────────────────────────────────► ready
///    ▲                                                 │
///    └─────────────── the process ended ───────────────┘    `run()` starts it again, after a growing pause
/// ```
/// While Litestream is down, syncs wait for it up to their timeout; nothing is acknowledged meanwhile.
package actor LitestreamReplicator: Replicator {
    let settings: LitestreamSettings
    let store: any ObjectStore
    let logger: Logger
    private let control: LitestreamControl
    private let socket: String
    private var watched: [String: Watched] = [:]
    /// What was copied ahead to replicas that will go on with others.
    var preparedCopies: [ReplicaLocation: PreparedCopy] = [:]
    private var isReady = false
    private var lastFailure: (any Error)?
    /// How often Litestream was started.
    package private(set) var startCount = 0
    /// The process id of the Litestream that runs, for tests and diagnosis.
    package private(set) var processIdentifier: Int32?

    private struct Watched {
        let database: ReplicatedDatabase
        var syncs: SyncCoalescer<CheckedContinuation<ReplicaPosition, any Error>>
        /// Tells Litestream of it; who comes meanwhile waits.
        var registration: Task<Void, any Error>?
        /// Set for good when another was found to write to the replica.
        var superseded: ReplicationError?
        /// Syncs since the local files of single transactions were last made fewer.
        var untrimmed = 0
    }

    /// `store`: the store at `settings.address`.
    package init(settings: LitestreamSettings, store: any ObjectStore, logger: Logger) {
        self.settings = settings
        self.store = store
        self.logger = logger
        let wanted = "\(settings.stateFolder)/litestream.sock"
        // The address of a unix socket holds 107 bytes.
        socket =
            wanted.utf8.count <= 100
            ? wanted : "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        control = LitestreamControl(socket: socket)
    }

    // MARK: - The process

    /// Runs Litestream until the task is cancelled, then lets it replicate what is left and end.
    ///
    /// - Throws: `ReplicationError` when the state folder is used by another process.
    package func run() async throws {
        let lock = try await lockStateFolder()
        var failures = 0
        while !Task.isCancelled {
            let started = ContinuousClock.now
            do {
                try await runOnce()
            } catch {
                lastFailure = error
                logger.warning("replication ended", metadata: ["error": "\(error)"])
            }
            isReady = false
            processIdentifier = nil
            if Task.isCancelled { break }
            failures = ContinuousClock.now - started > .seconds(30) ? 0 : failures + 1
            // Cancellation ends the pause; the loop's condition sees it.
            try? await Task.sleep(for: min(.seconds(5), .milliseconds(50) * (1 << min(failures, 8))))
        }
        close()
        withExtendedLifetime(lock) {}
    }

    private func runOnce() async throws {
        let process = try await LitestreamProcess(settings: settings, socket: socket, logger: logger)
        startCount += 1
        processIdentifier = process.child.identifier
        do {
            let version = try await process.waitUntilReady(control)
            if !version.contains(LitestreamProcess.expectedVersion) {
                logger.warning(
                    "Litestream has another version than the one that is supported",
                    metadata: ["version": "\(version)", "supported": "\(LitestreamProcess.expectedVersion)"]
                )
            }
            // Registrations live in Litestream's memory only.
            for entry in watched.values {
                try await control.register(entry.database.path, url: url(entry.database))
            }
        } catch {
            await process.child.stop(grace: .seconds(1))
            throw error
        }
        isReady = true
        lastFailure = nil
        let status = await withTaskCancellationHandler {
            await process.child.wait()
        } onCancel: {
            // On its own, because the cancelled task can't wait; the grace bounds it.
            Task { await process.child.stop(grace: .seconds(20)) }
        }
        if !Task.isCancelled { throw process.failure("run", nil) }
        logger.debug("replication stopped", metadata: ["status": "\(status)"])
    }

    private func lockStateFolder() async throws -> OpenFile {
        let folder = settings.stateFolder
        return try await blocking {
            try FileSystem.makeFolders(folder)
            let lock = try OpenFile("\(folder)/lock", flags: O_RDWR | O_CREAT)
            guard try lock.lock(LOCK_EX | LOCK_NB) else {
                throw ReplicationError(
                    .invalid,
                    "replicate with the state in \(folder): another process does; stop it or use another folder"
                )
            }
            return lock
        }
    }

    private func close() {
        for path in watched.keys {
            fail(path, ReplicationError(.unavailable, "replicate \(path): replication was stopped"))
        }
        watched = [:]
    }

    private func fail(_ path: String, _ error: ReplicationError) {
        guard let waiters = watched[path]?.syncs.takeAll() else { return }
        waiters.forEach { $0.resume(throwing: error) }
    }

    // MARK: - Replicator

    /// How many databases are watched.
    package var watchedCount: Int { watched.count }

    /// Whether the database is watched, and Litestream has been told of it.
    package func isWatched(_ database: ReplicatedDatabase) -> Bool {
        guard let entry = watched[database.path], entry.database == database else { return false }
        return entry.registration == nil
    }

    /// When the first sync fails as `unavailable` the database is watched all the same, and replicated as soon as
    /// that can be done.
    package func watch(_ database: ReplicatedDatabase) async throws -> ReplicaPosition {
        try Self.checkPath(database.path)
        if let known = watched[database.path]?.database {
            guard known == database else {
                throw ReplicationError(
                    .invalid,
                    "watch \(database.path) to \(database.replica): it is watched to \(known.replica); release it first"
                )
            }
        } else {
            var entry = Watched(database: database, syncs: SyncCoalescer(limit: settings.waitersPerDatabase))
            // Shared with those who come meanwhile; the call's time-out bounds it.
            if isReady { entry.registration = Task { try await self.register(database) } }
            watched[database.path] = entry
        }
        if let registration = watched[database.path]?.registration {
            try await registration.value
            watched[database.path]?.registration = nil
        }
        return try await sync(database)
    }

    package func sync(_ database: ReplicatedDatabase) async throws -> ReplicaPosition {
        try await withCheckedThrowingContinuation { continuation in
            guard var entry = watched[database.path], entry.database == database else {
                return continuation.resume(
                    throwing: ReplicationError(.invalid, "replicate \(database.path): it is not watched")
                )
            }
            if let superseded = entry.superseded { return continuation.resume(throwing: superseded) }
            switch entry.syncs.ask(continuation) {
            case .start:
                watched[database.path] = entry
                // Shared by all who wait for it, so it ends with none of them; the sync's timeout bounds it.
                Task { await syncUntilNobodyWaits(database) }
            case .wait: watched[database.path] = entry
            case .refuse:
                continuation.resume(
                    throwing: ReplicationError(
                        .unavailable,
                        "replicate \(database.path): \(settings.waitersPerDatabase) wait already"
                    )
                )
            }
        }
    }

    package func release(_ database: ReplicatedDatabase) async throws -> ReplicaPosition {
        let synced = try await sync(database)
        let last: UInt64
        do {
            last = try await control.unregister(database.path, timeoutSeconds: seconds(settings.syncTimeout))
        } catch {
            throw replicationError("release \(database.path)", error)
        }
        let position = max(synced, ReplicaPosition(transaction: last))
        // All that was committed before it was released is in the replica.
        watched[database.path]?.syncs.takeAll().forEach { $0.resume(returning: position) }
        watched[database.path] = nil
        return position
    }

    package func forget(_ database: ReplicatedDatabase) async throws {
        guard watched[database.path]?.database == database else { return }
        fail(database.path, ReplicationError(.invalid, "replicate \(database.path): it is no longer watched"))
        watched[database.path] = nil
        guard isReady else { return }
        do {
            _ = try await control.unregister(database.path, timeoutSeconds: 1)
        } catch let error as LitestreamControl.Failure where !error.isSocketDead {
            // What is left could not be replicated, which is not asked for; the registration is gone either way.
            logger.debug("a database was forgotten with changes left", metadata: ["error": "\(error)"])
        }
    }

    // MARK: - Syncing

    private func syncUntilNobodyWaits(_ database: ReplicatedDatabase) async {
        while true {
            let answer: Result<ReplicaPosition, any Error>
            do { answer = .success(try await syncOnce(database)) } catch { answer = .failure(error) }
            guard var entry = watched[database.path], entry.database == database else { return }
            if case .failure(let error as ReplicationError) = answer, error.code == .superseded {
                entry.superseded = error
            }
            let (released, startsAnother) = entry.syncs.finished()
            entry.untrimmed += 1
            let isTrimmed = entry.untrimmed >= LocalTransactions.interval
            if isTrimmed { entry.untrimmed = 0 }
            watched[database.path] = entry
            released.forEach { $0.resume(with: answer) }
            if isTrimmed, case .success(let position) = answer { trim(database, position) }
            if !startsAnother { return }
        }
    }

    private func syncOnce(_ database: ReplicatedDatabase) async throws -> ReplicaPosition {
        let deadline = ContinuousClock.now + settings.syncTimeout
        var registrations = 0
        while true {
            try await waitUntilReady(before: deadline, database)
            let left = max(1, seconds(deadline - ContinuousClock.now))
            do {
                let answer = try await control.sync(database.path, timeoutSeconds: left)
                guard answer.replicated_txid <= answer.txid else {
                    throw ReplicationError(
                        .superseded,
                        "replicate \(database.path) to \(database.replica): the replica is at transaction "
                            + "\(answer.replicated_txid), this database at \(answer.txid): another host writes to it"
                    )
                }
                // One that Litestream is just opening has no transaction, and nothing of it is replicated.
                guard answer.txid > 0 else {
                    guard ContinuousClock.now < deadline else {
                        throw ReplicationError(
                            .unavailable,
                            "replicate \(database.path): Litestream has not begun with it in \(settings.syncTimeout)"
                        )
                    }
                    try await Task.sleep(for: .milliseconds(2))
                    continue
                }
                return ReplicaPosition(transaction: answer.txid)
            } catch let failure as LitestreamControl.Failure {
                if failure.isDatabaseUnknown, registrations < 3 {
                    registrations += 1
                    try await register(database)
                } else if failure.isSocketDead, ContinuousClock.now < deadline {
                    try await Task.sleep(for: .milliseconds(20))
                } else {
                    throw replicationError("replicate \(database.path)", failure)
                }
            }
        }
    }

    private func trim(_ database: ReplicatedDatabase, _ position: ReplicaPosition) {
        // Beside the next sync, which need not wait for it. It does no harm whenever it happens: what stays is newer.
        Task { [logger] in
            do {
                try await blocking {
                    try LocalTransactions.trim(
                        DatabaseFiles(path: database.path),
                        replicated: position.transaction
                    )
                }
            } catch {
                logger.debug("files of replication stay", metadata: ["error": "\(error)"])
            }
        }
    }

    private func waitUntilReady(
        before deadline: ContinuousClock.Instant,
        _ database: ReplicatedDatabase
    ) async throws {
        while !isReady {
            guard ContinuousClock.now < deadline else {
                throw ReplicationError(
                    .unavailable,
                    "replicate \(database.path): Litestream is not running",
                    cause: lastFailure
                )
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    private func register(_ database: ReplicatedDatabase) async throws {
        do {
            try await control.register(database.path, url: url(database))
        } catch let failure as LitestreamControl.Failure where failure.isSocketDead {
            // It is registered when Litestream runs again.
            logger.debug("registering waits for replication to start", metadata: ["path": "\(database.path)"])
        } catch {
            throw replicationError("watch \(database.path)", error)
        }
    }

    private func url(_ database: ReplicatedDatabase) -> String { settings.url(of: database.replica) }

    private func seconds(_ duration: Duration) -> Int { Int(duration.components.seconds) }

    private func replicationError(_ action: String, _ error: any Error) -> ReplicationError {
        if let error = error as? ReplicationError { return error }
        let isFull = (error as? LitestreamControl.Failure)?.isDiskFull ?? false
        let hint = isFull ? "no space left on this host" : "the replica can't be written now"
        return ReplicationError(isFull ? .full : .unavailable, "\(action): \(hint)", cause: error)
    }

    private static func checkPath(_ path: String) throws {
        guard path.hasPrefix("/") else {
            throw ReplicationError(.invalid, "watch \(path): the path of a database must be absolute")
        }
        // Litestream opens a database by a URI in which these three are not taken as they are.
        guard !path.contains(where: { "?#%".contains($0) }) else {
            throw ReplicationError(
                .invalid,
                "watch \(path): a database with ?, # or % in its path can't be replicated; rename it"
            )
        }
    }
}
