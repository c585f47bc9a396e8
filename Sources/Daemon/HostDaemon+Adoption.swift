import Control
import Foundation
import Logging

/// Apps that the object store knows and this host does not: those of a host whose state is lost.
extension HostDaemon {
    /// Makes an entry for every app that the store knows of, so that requests for it are held and wake it.
    func listStoredApplications() async throws {
        guard let databases else { return }
        for record in try await databases.applicationRecords()
        where entries[record.app]?.record.version == nil {
            let claimed = try await store.claim(record.app, for: record.owner, now: record.createdAt)
            stored[record.app] = record
            let entry = Self.makeEntry(claimed, limits: configuration.limits)
            entries[record.app] = entry
            logger.notice("an app is taken over from the object store", metadata: ["app": "\(record.app)"])
        }
    }

    /// Takes over the listed apps one by one; a request for one takes it over at once.
    func takeOverStoredApplications() async {
        for app in stored.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            guard !Task.isCancelled, !isStopping else { return }
            do { try await takeOver(app) } catch {
                logger.error(
                    "an app could not be taken over",
                    metadata: ["app": "\(app)", "error": "\(error)"]
                )
                entries[app]?.lastFailure = ApplicationStatus.Failure(
                    message: MartletError(error, while: "take \(app) over").message,
                    at: Date()
                )
            }
        }
    }

    /// Gets the version of an app that the store knows, and takes it into use.
    func takeOver(_ app: ApplicationID) async throws {
        if let running = takingOver[app] { return try await running.value }
        guard let databases, let record = stored[app], let entry = entries[app] else { return }
        // Shared by all who wait for it.
        let task = Task {
            try await databases.fetchArtifact(record.version)
            let archive = URL(fileURLWithPath: self.folder.artifact(record.version.rawValue))
            var version = try await self.unpack(archive, name: app)
            version = try await self.resolve(version) { _ in }
            try await self.prepare(version)
            guard let stored = try await self.store.version(version.version, of: app) else { return }
            try await self.store.set(
                record.env.map {
                    StateStore.Variable(name: $0.key, value: Data($0.value.utf8), isSecret: false)
                },
                of: app
            )
            try await self.store.use(stored, now: Date())
            entry.record.version = stored.id
            entry.record.deployedAt = Date()
            entry.record.sleepAfter = stored.settings.sleepAfter
            self.stored[app] = nil
            if !record.secretNames.isEmpty {
                let names = record.secretNames.joined(separator: ", ")
                let message = "its secrets were lost with the host that had them; set them again: \(names)"
                entry.lastFailure = ApplicationStatus.Failure(message: message, at: Date())
                self.logs.log(of: app).note(message, version: stored.id, level: .warn)
            }
        }
        takingOver[app] = task
        defer { takingOver[app] = nil }
        try await task.value
    }

    /// Notes an app in the object store as it is now.
    func keepRecord(of app: ApplicationID) async throws {
        guard let databases, let record = entries[app]?.record, let version = record.version else { return }
        let variables = try await store.environment(of: app)
        try await databases.keep(
            ApplicationRecord(
                app: app,
                owner: record.owner,
                createdAt: record.createdAt,
                version: version,
                env: Dictionary(
                    uniqueKeysWithValues: variables.filter { !$0.isSecret }.map {
                        ($0.name, String(decoding: $0.value, as: UTF8.self))
                    }
                ),
                secretNames: variables.filter(\.isSecret).map(\.name)
            )
        )
    }
}
