package import Control
import Foundation
import NIOCore
import Storage

/// What every host knows of an app's jobs: `records/cron/<app>.json`, written by the host that has the app.
///
/// It says which jobs the deployed version has, so that a host that takes a sleeping app over need not start it to know,
/// and which slots were given, so that none is given twice, whichever hosts believe that the app is theirs.
package struct CronRecord: Codable, Sendable, Equatable {
    package struct Job: Codable, Sendable, Equatable {
        package var job: CronJob
        /// The last slot that was decided, in minutes since 1970.
        package var lastSlot: Int
    }

    /// The epoch of the placement under which it was written last; a host with an older one may not change it.
    package var epoch: Int
    package var jobs: [Job]

    package init(epoch: Int, entries: [CronPlan.Entry]) {
        self.epoch = epoch
        jobs = entries.map { Job(job: $0.job, lastSlot: $0.lastSlot.rawValue) }
    }

    package var entries: [CronPlan.Entry] {
        jobs.map { CronPlan.Entry(job: $0.job, lastSlot: CronSlot(rawValue: $0.lastSlot)) }
    }

    /// Makes these the jobs; a slot that was given before stays given.
    package mutating func take(_ entries: [CronPlan.Entry]) {
        let known = jobs
        self = CronRecord(epoch: epoch, entries: entries)
        for (index, job) in jobs.enumerated() {
            let last = known.first { $0.job.description == job.job.description }?.lastSlot ?? job.lastSlot
            jobs[index].lastSlot = max(job.lastSlot, last)
        }
    }

    /// Gives a slot; returns false when it, or a later one, was given before.
    package mutating func give(_ slot: CronSlot, of job: CronJob) -> Bool {
        guard let index = jobs.firstIndex(where: { $0.job.description == job.description }) else {
            jobs.append(Job(job: job, lastSlot: slot.rawValue))
            return true
        }
        guard jobs[index].lastSlot < slot.rawValue else { return false }
        jobs[index].lastSlot = slot.rawValue
        return true
    }
}

extension AppDatabases {
    /// The most bytes of a record; an app has at most some hundred jobs.
    private static let mostRecordBytes = 1 << 20
    /// How often a change is tried while others write.
    private static let mostTries = 8

    /// The jobs of an app as its last host has left them; nil where none has written them down.
    package func cronRecord(of app: ApplicationID) async throws -> CronRecord? {
        do {
            return try await storedRecord(try Self.cronKey(app))?.record
        } catch {
            throw Self.shown(error, "read the jobs of \(app)")
        }
    }

    /// Makes these the jobs of an app that is placed here.
    ///
    /// - Throws: ``MartletError`` with code `owned_elsewhere` when another host has taken the app since.
    package func keepCron(_ entries: [CronPlan.Entry], of app: ApplicationID) async throws {
        _ = try await changeCron(of: app) { record in
            record.take(entries)
            return true
        }
    }

    /// Takes a slot of a job for good, before anything is done about it.
    ///
    /// - Returns: whether the slot was free.
    /// - Throws: ``MartletError`` when the store can not be asked, or another host has the app.
    package func claim(_ slot: CronSlot, of job: CronJob, _ app: ApplicationID) async throws -> Bool {
        try await changeCron(of: app) { $0.give(slot, of: job) }
    }

    func forgetCron(of app: ApplicationID) async throws {
        try await store.delete(try Self.cronKey(app))
    }

    /// Changes the record by a conditional write under this host's epoch; nothing is written where `change` says so.
    private func changeCron(
        of app: ApplicationID,
        _ change: (inout CronRecord) -> Bool
    ) async throws -> Bool {
        _ = try await place(app)
        do {
            let key = try Self.cronKey(app)
            for _ in 0..<Self.mostTries {
                guard let epoch = placed[app]?.epoch else {
                    throw MartletError(.ownedElsewhere, "\(app) is not on this host any more")
                }
                let stored = try await storedRecord(key)
                var record = stored?.record ?? CronRecord(epoch: epoch, entries: [])
                guard record.epoch <= epoch else {
                    throw MartletError(
                        .ownedElsewhere,
                        "another host has \(app), under epoch \(record.epoch)"
                    )
                }
                record.epoch = epoch
                guard change(&record) else { return false }
                if record == stored?.record { return true }
                do {
                    let bytes = ByteBuffer(bytes: try JSONFormat.encoder().encode(record))
                    _ = try await store.put(
                        key,
                        .bytes(bytes),
                        if: stored.map { .matches($0.etag) } ?? .absent
                    )
                    return true
                } catch let error as StorageError where error.code == .conditionFailed {
                    continue
                }
            }
            throw MartletError(.conflict, "others write the jobs of \(app) all the time")
        } catch {
            throw Self.shown(error, "write down the jobs of \(app)")
        }
    }

    private func storedRecord(_ key: ObjectKey) async throws -> (record: CronRecord, etag: ETag)? {
        guard let object = try await store.find(key) else { return nil }
        guard let etag = object.info.etag else {
            throw MartletError(.internal, "\(store.location) says no version of \(key)")
        }
        let bytes = try await object.bytes(upTo: Self.mostRecordBytes)
        let record = try JSONFormat.decoder().decode(CronRecord.self, from: Data(bytes.readableBytesView))
        return (record, etag)
    }

    private static func cronKey(_ app: ApplicationID) throws -> ObjectKey {
        try ObjectKey("records/cron/\(app.rawValue).json")
    }
}
