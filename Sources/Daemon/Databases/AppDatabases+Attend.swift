package import Control
import Foundation
import Logging
package import Proxy
package import Replication
import Storage

// While an app has workers, its databases are found and streamed; after the last one they are released.
extension AppDatabases {
    /// A worker is about to open the app's databases.
    ///
    /// Returns at once: streaming begins beside the worker's start. The app was placed before.
    ///
    /// - Returns: what the worker's answers pass through.
    package func opened(
        _ app: ApplicationID,
        durability: ApplicationSettings.Durability?
    ) throws -> (any AnswerGate)? {
        guard let entry = placed[app] else {
            throw MartletError(.conflict, "\(app) is not this host's any more; try again")
        }
        entry.workers += 1
        if entry.workers == 1 { entry.attending = enqueue(entry) { await self.attend(entry) } }
        switch durability ?? (configuration.isRemote ? .gated : .async) {
        case .gated: return gate(of: entry)
        case .async:
            let lease = entry.lease
            return configuration.isRemote ? EntitlementGate(app: app, fence: { try lease.check() }) : nil
        }
    }

    private func gate(of entry: Placed) -> AppGate {
        if let gate = entry.gate { return gate }
        let lease = entry.lease
        let gate = AppGate(
            app: entry.app,
            replicator: replicator,
            fence: { try lease.check() },
            scan: { [weak self] in try await self?.scan(entry) }
        )
        for (name, one) in entry.streamed { gate.add(name, one.database) }
        if let news = entry.news { gate.watch(news) }
        entry.gate = gate
        return gate
    }

    /// Finds what the app has made a moment ago.
    private func scan(_ entry: Placed) async throws {
        let deadline = ContinuousClock.now + configuration.syncTimeout
        while entry.isContinuing, placed[entry.app] === entry {
            guard ContinuousClock.now < deadline else {
                throw ReplicationError(
                    .unavailable,
                    "the replica of epoch \(entry.epoch) of \(entry.app) is not complete after \(configuration.syncTimeout)"
                )
            }
            try await Task.sleep(for: .milliseconds(2))
        }
        // Its folder is watched from there on.
        await entry.attending?.value
        _ = await watcher.scanNow(folder.data(entry.app.rawValue))
    }

    /// A worker that had the app's databases has ended.
    ///
    /// Returns at once: after the last worker, what is left is brought to the replica and the databases are released.
    package func closed(_ app: ApplicationID) {
        guard let entry = placed[app], entry.workers > 0 else { return }
        entry.workers -= 1
        guard entry.workers == 0 else { return }
        enqueue(entry) { await self.settle(entry, until: nil) }
    }

    /// Waits until everything of an app that has no worker any more is in the replica and released.
    ///
    /// - Returns: how far the replica of each database is.
    /// - Throws: ``MartletError`` with code `unavailable` when it is not there in time.
    package func settled(
        _ app: ApplicationID,
        within limit: Duration
    ) async throws -> [String: ReplicaPosition] {
        let entry = try await replicated(app, within: limit)
        // How far the replica is has been noted on the disk too, where the next placement looks for it.
        await entry.tail?.value
        return entry.local.databases.compactMapValues { $0.transaction.map(ReplicaPosition.init) }
    }

    /// The same, but what is noted on the disk may still be under way.
    func replicated(_ app: ApplicationID, within limit: Duration) async throws -> Placed {
        guard let entry = placed[app] else {
            throw MartletError(.conflict, "\(app) is not placed on this host")
        }
        let deadline = ContinuousClock.now + limit
        while entry.workers > 0 || !entry.streamed.isEmpty || entry.isRecordDirty || entry.isContinuing {
            guard ContinuousClock.now < deadline, placed[app] === entry else {
                throw MartletError(
                    .unavailable,
                    "the last changes of \(app) are not in the replica after \(limit.milliseconds / 1000) s"
                )
            }
            try await Task.sleep(for: .milliseconds(1))
        }
        return entry
    }

    private func attend(_ entry: Placed) async {
        guard entry.workers > 0, placed[entry.app] === entry else { return }
        let app = entry.app
        let news = await watcher.add(folder.data(app.rawValue)) { [weak self] changes in
            await self?.apply(changes, to: app)
        }
        entry.news = news
        entry.gate?.watch(news)
    }

    /// Takes note of databases that appeared or went, and begins or ends to stream them.
    private func apply(_ changes: [DatabaseChange], to app: ApplicationID) async {
        guard let entry = placed[app] else { return }
        let before = entry.local
        for change in changes {
            switch change {
            case .found(let database): await found(database, entry)
            case .gone(let database): await gone(database, entry)
            }
        }
        guard entry.local != before else { return }
        do { try note(entry) } catch {
            logger.error("a placement was not noted", metadata: ["app": "\(app)", "error": "\(error)"])
        }
        await writeRecord(entry)
    }

    private func found(_ database: FoundDatabase, _ entry: Placed) async {
        let path = "\(folder.data(entry.app.rawValue))/\(database.name)"
        let (known, replaced) = entry.local.found(database)
        do {
            if let replaced {
                if let old = entry.streamed.removeValue(forKey: database.name) {
                    try await replicator.forget(old.database)
                }
                note(removed: database.name, replaced, entry)
            }
            let replica = try ReplicaLocation(
                app: entry.app.rawValue,
                epoch: entry.epoch,
                database: database.name,
                incarnation: known.incarnation
            )
            // What Litestream keeps beside a file is of the file that was there before.
            if replaced != nil { try DatabaseFiles.removeFolder(DatabaseFiles(path: path).replicationFolder) }
            stream(ReplicatedDatabase(path: path, replica: replica), database, entry)
        } catch {
            logger.error(
                "a database is not replicated",
                metadata: ["app": "\(entry.app)", "database": "\(database.name)", "error": "\(error)"]
            )
        }
    }

    private func stream(_ database: ReplicatedDatabase, _ found: FoundDatabase, _ entry: Placed) {
        entry.streamed[found.name] = Streamed(database: database, inode: found.inode)
        entry.gate?.add(found.name, database)
        // Beside the scan that found it: the first sync may take as long as an upload. Its time-out bounds it, and
        // syncs of others wait for the same one.
        Task {
            do {
                _ = try await replicator.watch(database)
            } catch let error as ReplicationError where error.code != .unavailable {
                await self.report(error, found, entry)
            } catch {
                logger.warning(
                    "a database waits to be replicated",
                    metadata: ["database": "\(database.path)", "error": "\(error)"]
                )
            }
        }
    }

    private func report(_ error: ReplicationError, _ found: FoundDatabase, _ entry: Placed) async {
        guard entry.streamed[found.name]?.inode == found.inode else { return }
        entry.streamed[found.name]?.problem = error
        entry.gate?.fail(found.name, error)
        logger.error(
            "a database is not replicated",
            metadata: ["app": "\(entry.app)", "database": "\(found.name)", "error": "\(error)"]
        )
        if error.code == .superseded { await fence(entry.app, because: error.message) }
    }

    private func gone(_ database: FoundDatabase, _ entry: Placed) async {
        guard let known = entry.local.databases[database.name], known.inode == database.inode else { return }
        entry.gate?.remove(database.name)
        if let old = entry.streamed.removeValue(forKey: database.name) {
            do { try await replicator.forget(old.database) } catch {
                logger.debug("a removed database was not forgotten", metadata: ["error": "\(error)"])
            }
        }
        let path = "\(folder.data(entry.app.rawValue))/\(database.name)"
        // Where another file has taken the name, it is found next as a replacement.
        guard !FileManager.default.fileExists(atPath: path) else { return }
        note(removed: database.name, known, entry)
        // The next database of that name is the next incarnation.
        entry.local.databases[database.name]?.inode = 0
        do { try DatabaseFiles(path: path).removeCompanions() } catch {
            logger.debug("what lay beside a removed database stays", metadata: ["error": "\(error)"])
        }
    }

    private func note(removed name: String, _ known: LocalPlacement.Database, _ entry: Placed) {
        let replica = DatabaseName.encoded(name, incarnation: known.incarnation)
        guard entry.record.removed[replica] == nil else { return }
        entry.record.removed[replica] = Date()
        entry.isRecordDirty = true
    }

    /// Writes down what is known of an app's data, once all of it is on the disk.
    func note(_ entry: Placed) throws {
        guard entry.isFlushed else { return }
        try entry.local.write(folder.placement(entry.app.rawValue))
    }

    func writeRecord(_ entry: Placed) async {
        guard entry.isRecordDirty else { return }
        do {
            entry.isRecordDirty = false
            try await entry.record.write(entry.app.rawValue, to: store)
        } catch {
            entry.isRecordDirty = true
            logger.warning(
                "that a database was removed is not noted in the store yet",
                metadata: ["app": "\(entry.app)", "error": "\(error)"]
            )
        }
    }

    // MARK: - Settling

    /// Finds what has not been found yet, brings everything to the replica and releases it.
    ///
    /// While that fails it is tried again: until a worker opens the databases again, or until the deadline.
    func settle(_ entry: Placed, until deadline: ContinuousClock.Instant?) async {
        let data = folder.data(entry.app.rawValue)
        var pause = Duration.milliseconds(50)
        guard entry.workers == 0, placed[entry.app] === entry else { return }
        _ = await watcher.scanNow(data)
        while entry.workers == 0, placed[entry.app] === entry {
            let isReleased = await releaseAll(entry)
            await writeRecord(entry)
            if isReleased, !entry.isRecordDirty { break }
            entry.isLate = true
            if isStopping, deadline.map({ $0 <= .now }) ?? true { return }
            // Cancelled only when the host stops, which the loop's conditions see.
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(2))
        }
        entry.isLate = false
        guard entry.workers == 0, placed[entry.app] === entry, entry.streamed.isEmpty else { return }
        entry.gate?.rest()
        entry.gate = nil
        entry.news = nil
        await watcher.remove(data)
        do { try note(entry) } catch {
            logger.error("a placement was not noted", metadata: ["app": "\(entry.app)", "error": "\(error)"])
        }
    }

    /// Whether nothing is left to be released.
    private func releaseAll(_ entry: Placed) async -> Bool {
        let streamed = entry.streamed
        await withDiscardingTaskGroup { group in
            for (name, one) in streamed {
                group.addTask { await self.release(name, one, entry) }
            }
        }
        return entry.streamed.isEmpty
    }

    private func release(_ name: String, _ one: Streamed, _ entry: Placed) async {
        do {
            // One that was found a moment ago may not be registered yet; others need no sync beside that of the release.
            if await !replicator.isWatched(one.database) { _ = try await replicator.watch(one.database) }
            guard entry.workers == 0 else { return }
            let position = try await replicator.release(one.database)
            entry.local.databases[name]?.transaction = position.transaction
            if entry.streamed[name]?.inode == one.inode { entry.streamed[name] = nil }
        } catch let error as ReplicationError where error.code == .superseded {
            await fence(entry.app, because: error.message)
        } catch let error as ReplicationError where error.code == .invalid {
            // It can't be replicated, which was reported when it was found.
            if entry.streamed[name]?.inode == one.inode { entry.streamed[name] = nil }
        } catch {
            logger.warning(
                "the last changes of a database are not in the replica yet",
                metadata: ["app": "\(entry.app)", "database": "\(name)", "error": "\(error)"]
            )
        }
    }
}
