package import Control
package import Foundation
import Logging
import Replication
import Storage

// States of the past, copies, and the proof that there are any.
extension AppDatabases {
    /// What there is to be told of each database.
    package func statuses(of app: ApplicationID) async throws -> [DatabaseStatus] {
        _ = try await place(app)
        guard let entry = placed[app] else { throw Self.gone(app) }
        let data = folder.data(app.rawValue)
        let since = try await oldest(app, entry.epoch)
        return DatabaseScanner().scan(data).databases.map { database in
            let streamed = entry.streamed[database.name]
            return DatabaseStatus(
                name: database.name,
                bytes: HostDaemon.fileBytes("\(data)/\(database.name)"),
                epoch: entry.epoch,
                isStreamed: streamed != nil,
                problem: streamed?.problem?.message,
                restorableSince: since,
                provenAt: entry.proven[database.name]
            )
        }
    }

    /// When the replicas of all of an app's databases were last proven; nil while one was not.
    package func proven(_ app: ApplicationID) -> Date? { placed[app]?.proven.values.min() }

    /// The same of all apps that have such a time.
    package func proven() -> [ApplicationID: Date] { placed.compactMapValues { $0.proven.values.min() } }

    /// Brings everything that was committed before the call to the replica.
    package func sync(_ app: ApplicationID) async throws {
        _ = try await place(app)
        guard let entry = placed[app] else { throw Self.gone(app) }
        do {
            if entry.workers > 0 {
                await entry.tail?.value
                _ = await watcher.scanNow(folder.data(app.rawValue))
            }
            let lease = entry.lease
            try await CommitGate(replicator: replicator)
                .confirm(entry.streamed.values.filter { $0.problem == nil }.map(\.database)) {
                    try lease.check()
                }
        } catch {
            throw Self.shown(error, "bring \(app) to its replica")
        }
    }

    /// Throws unless there is a state of the app at a time.
    package func checkHistory(of app: ApplicationID, at time: Date) async throws {
        let epoch = try await place(app).epoch
        do {
            guard let record = try await epochRecord(of: app, at: time, newest: epoch), !record.isDeletion
            else {
                throw MartletError(.notFound, "\(app) had no data at \(JSONFormat.time(time))")
            }
        } catch {
            throw Self.shown(error, "look up \(app) at \(JSONFormat.time(time))")
        }
    }

    /// Takes the app back to a time, under its next epoch.
    ///
    /// It has no worker, and is settled.
    package func goBack(_ app: ApplicationID, to time: Date) async throws -> PlacementReport {
        let epoch = try await place(app).epoch
        await forget(app)
        return try await place(app, PlacementOrder(from: epoch, time: time, isOrdered: true))
    }

    /// Gives another app the databases of this one, of now or of a time.
    package func fork(
        _ app: ApplicationID,
        as name: ApplicationID,
        at time: Date?
    ) async throws -> PlacementReport {
        let epoch = try await place(app).epoch
        if time == nil { try await sync(app) }
        return try await place(
            name,
            PlacementOrder(from: epoch, time: time, source: app, isOrdered: true)
        )
    }

    /// Restores one database to a new file.
    package func export(
        _ database: String?,
        of app: ApplicationID,
        at time: Date?,
        to path: String
    ) async throws {
        let epoch = try await place(app).epoch
        if time == nil { try await sync(app) }
        do {
            let record: EpochRecord?
            if let time {
                record = try await epochRecord(of: app, at: time, newest: epoch)
            } else {
                record = try await EpochRecord.newest(app.rawValue, from: epoch, in: store)
            }
            guard let record else { throw MartletError(.notFound, "\(app) has no databases yet") }
            let all = try await sources(of: app.rawValue, record, at: time)
            let source = try Self.choose(database, of: app, among: all.map(\.name))
            guard let replica = all.first(where: { $0.name == source })?.replica else { throw Self.gone(app) }
            _ = try await replicator.restore(
                replica,
                to: path,
                at: time.map(RestoreTarget.time) ?? .newest
            ) { _ in }
            // It is a file of its own, which others are to read without a log.
            try DatabaseFiles(path: path).removeCompanions()
        } catch {
            throw Self.shown(error, "copy a database of \(app)")
        }
    }

    /// The database that is meant: the one named, the only one, or `main.db`.
    static func choose(_ name: String?, of app: ApplicationID, among names: [String]) throws -> String {
        let wanted = name ?? (names.count == 1 ? names[0] : "main.db")
        if names.contains(wanted) { return wanted }
        throw MartletError(
            .notFound,
            names.isEmpty
                ? "\(app) has no databases yet"
                : "\(app) has "
                    + (name.map { "no database \($0)" } ?? "several databases: name one with --database")
                    + "; there is " + names.joined(separator: ", ")
        )
    }

    private func oldest(_ app: ApplicationID, _ epoch: Int) async throws -> Date? {
        var oldest: Date?
        var candidate = epoch
        do {
            // Beyond a hundred moves or restores it is told as not older than that.
            while candidate > 0, epoch - candidate < 100 {
                guard let record = try await EpochRecord.read(app.rawValue, candidate, in: store) else {
                    break
                }
                oldest = record.begunAt
                candidate -= 1
            }
        } catch {
            throw Self.shown(error, "look up the history of \(app)")
        }
        return oldest.map { max($0, Date(timeIntervalSinceNow: -configuration.retention.inSeconds)) }
    }

    private static func gone(_ app: ApplicationID) -> MartletError {
        MartletError(.conflict, "\(app) is not this host's any more")
    }

    // MARK: - Proof and retention

    /// Restores the replicas of awake apps from time to time, and removes epochs that nobody can go back to.
    func proveAndPrune() async {
        var nextPrune = ContinuousClock.now + .seconds(60)
        while !Task.isCancelled {
            let interval = configuration.provingInterval ?? .seconds(3600)
            // Cancelled only when the host stops.
            try? await Task.sleep(for: min(interval / 4, .seconds(60)))
            if Task.isCancelled { return }
            if configuration.provingInterval != nil {
                for app in placed.values.filter({ isDue($0, interval) }).map(\.app) where !Task.isCancelled {
                    await prove(app)
                }
            }
            guard ContinuousClock.now >= nextPrune else { continue }
            nextPrune = .now + .seconds(24 * 3600)
            for app in Array(placed.keys) where !Task.isCancelled { await prune(app) }
        }
    }

    private func isDue(_ entry: Placed, _ interval: Duration) -> Bool {
        guard entry.workers > 0, !entry.streamed.isEmpty else { return false }
        let limit = Date(timeIntervalSinceNow: -interval.inSeconds)
        return entry.streamed.keys.contains { name in entry.proven[name].map { $0 < limit } ?? true }
    }

    /// Restores the replica of each of an app's databases and checks it in full.
    package func prove(_ app: ApplicationID) async {
        guard let entry = placed[app] else { return }
        for (name, one) in entry.streamed where one.problem == nil {
            let path = folder.stagingPath()
            do {
                _ = try await replicator.restore(one.database.replica, to: path, at: .newest) { _ in }
                entry.proven[name] = Date()
            } catch {
                logger.error(
                    "a replica could not be restored for proof",
                    metadata: ["app": "\(app)", "database": "\(name)", "error": "\(error)"]
                )
            }
            do { try DatabaseFiles(path: path).removeAll() } catch {
                logger.debug("a proof was not removed", metadata: ["error": "\(error)"])
            }
        }
        entry.proven = entry.proven.filter { entry.streamed[$0.key] != nil }
    }

    /// Removes the replicas of epochs that ended before the retention time.
    package func prune(_ app: ApplicationID, now: Date = Date()) async {
        guard let entry = placed[app] else { return }
        let limit = now.addingTimeInterval(-configuration.retention.inSeconds)
        var next: EpochRecord = entry.record
        var candidate = entry.epoch - 1
        do {
            while candidate > 0 {
                guard let record = try await EpochRecord.read(app.rawValue, candidate, in: store) else {
                    // What is before it was removed earlier, unless a placement was interrupted there.
                    if entry.epoch - candidate > 100 { return }
                    candidate -= 1
                    continue
                }
                if next.begunAt < limit {
                    try await store.deleteAll(
                        prefix: ReplicaLocation.folder(app: app.rawValue, epoch: candidate)
                    )
                    try await store.delete(try EpochRecord.key(app.rawValue, candidate))
                    logger.info(
                        "an old epoch was removed",
                        metadata: ["app": "\(app)", "epoch": "\(candidate)"]
                    )
                }
                next = record
                candidate -= 1
            }
        } catch {
            logger.warning("old epochs were not removed", metadata: ["app": "\(app)", "error": "\(error)"])
        }
    }
}
