package import Control
package import Foundation
import Logging
import Replication
import Storage

// States of the past, and copies.
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
}
