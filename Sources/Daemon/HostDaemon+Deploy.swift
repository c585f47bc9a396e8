public import Control
import Foundation
import Proxy
import Tracing

extension HostDaemon: ApplicationService {
    public typealias OnEvent = @Sendable (DeploymentEvent) async -> Void

    public func deploy(_ upload: Upload, onEvent: @escaping OnEvent) async throws -> Deployment {
        let begin = uptime()
        let run = DeploymentRun(onEvent: onEvent)
        var version = try await run.step(.unpack) { try await self.unpack(upload.archive, name: upload.name) }
        let (app, id) = (version.app, version.version)
        underway[id, default: 0] += 1
        defer { underway[id] = underway[id].flatMap { $0 > 1 ? $0 - 1 : nil } }
        do {
            let record = try await store.claim(app, for: upload.owner, now: Date())
            let entry = try change(app, record)
            defer { entry.isChanging = false }
            let previous = entry.record.version
            do {
                version = try await run.step(.resolve) { [version] in
                    try await self.resolve(version) { await run.progress(.resolve, $0) }
                }
                version = try await run.step(.check) { [version] in try await self.check(version) }
                try await run.step(.prepare) { [version] in
                    try await self.prepare(version)
                    try await self.databases?.keepArtifact(version.version)
                }
                try await takeIntoUse(app, id, run)
            } catch {
                try await forgetIfNew(entry)
                throw error
            }
            let removed = try await store.prune(app, keeping: configuration.limits.versions)
            removeFiles(of: removed)
            await databases?.dropArtifacts(removed)
            Self.noteDeployment("done", uptime() - begin)
            return deployment(app, id, previous, version.warnings, since: begin)
        } catch {
            Self.noteDeployment("failed", uptime() - begin)
            try await discard(id)
            throw MartletError(error, while: "deploy \(app)")
        }
    }

    public func rollback(
        _ app: ApplicationID,
        to version: VersionID?,
        onEvent: @escaping OnEvent
    ) async throws -> Deployment {
        let begin = uptime()
        let entry = try change(app, try self.entry(app).record)
        defer { entry.isChanging = false }
        let current = entry.record.version
        let target: StateStore.Version?
        if let version {
            target = try await store.version(version, of: app)
        } else {
            target = try await store.versionBefore(current, of: app)
        }
        guard let target else {
            throw MartletError(
                .notFound,
                version.map { "\(app) has no version \($0.short); `martlet versions \(app)` lists them" }
                    ?? "\(app) has no earlier version to go back to"
            )
        }
        do {
            try await takeIntoUse(app, target.id, DeploymentRun(onEvent: onEvent))
            return deployment(app, target.id, current, [], since: begin)
        } catch {
            throw MartletError(error, while: "roll \(app) back")
        }
    }

    public func delete(_ app: ApplicationID) async throws {
        let entry = try change(app, try self.entry(app).record)
        defer { entry.isChanging = false }
        do {
            let versions = try await store.versions(of: app).map(\.id)
            table[app.rawValue] = nil
            handle(.close, entry)
            proxy?.refuseHeld(
                entry.cell.waiting,
                with: .error(status: 404, code: "unknown_app", message: "\(app) has just been deleted.")
            )
            proxy?.endTunnels(of: entry.cell.waiting)
            while let awake = entry.awake, let instance = awake.instances.values.first {
                _ = await instance.gone.wait()
            }
            try await databases?.remove(app)
            try await store.remove(app)
            entries[app] = nil
            watched.remove(app)
            logs.close(app)
            proxy?.forget(entry.cell.waiting)
            // In one step out of the way, then piece by piece.
            let trash = folder.stagingPath()
            rename(folder.app(app.rawValue), trash)
            // The next start of the daemon would remove it too.
            try? FileManager.default.removeItem(atPath: trash)
            var unused: [VersionID] = []
            for version in versions where try await !store.isUsed(version) { unused.append(version) }
            removeFiles(of: unused)
            await databases?.dropArtifacts(unused)
        } catch {
            throw MartletError(error, while: "delete \(app)")
        }
    }

    // MARK: - Parts

    /// The steps that rolling back shares with deploying.
    private func takeIntoUse(_ app: ApplicationID, _ version: VersionID, _ run: DeploymentRun) async throws {
        _ = try await run.step(.restore) {
            try await self.restore(app) { await run.progress(.restore, $0) }
        }
        let hasOld = try await run.step(.start) {
            let hasOld = try await self.start(app, version: version)
            try await self.keepRecord(of: app)
            return hasOld
        }
        guard hasOld else { return }
        try await run.step(.drain) { try await self.drain(app) }
        try await run.step(.stop) { try await self.stop(app) }
    }

    /// Makes sure that one change of an app goes on at a time.
    func change(_ app: ApplicationID, _ record: StateStore.Application) throws -> Entry {
        guard !isStopping else { throw MartletError(.unavailable, "the host is stopping; try again later") }
        let entry = entries[app] ?? Self.makeEntry(record, limits: configuration.limits)
        guard entry.departure == nil else {
            throw MartletError(.conflict, "\(app) is on its way to another host; try again")
        }
        guard !entry.isChanging else {
            throw MartletError(
                .conflict,
                "\(app) is being changed by another deployment, rollback or deletion; try again"
            )
        }
        entry.isChanging = true
        entries[app] = entry
        return entry
    }

    /// A first deployment that failed leaves no app behind.
    private func forgetIfNew(_ entry: Entry) async throws {
        guard entry.record.version == nil else { return }
        let app = entry.record.id
        try await store.remove(app)
        handle(.close, entry)
        await databases?.forget(app)
        entries[app] = nil
        watched.remove(app)
        table[app.rawValue] = nil
        // It holds nothing but the log of the check.
        try? FileManager.default.removeItem(atPath: folder.app(app.rawValue))
    }

    /// Removes the files of a version that came to nothing.
    private func discard(_ version: VersionID) async throws {
        // Another deployment of the same content goes on with them.
        guard underway[version] == 1 else { return }
        // Files of the same content may be in use by another app, or by an earlier version of this one.
        try? FileManager.default.removeItem(atPath: folder.unfinished(version.rawValue))
        if try await !store.isUsed(version) { removeFiles(of: [version]) }
    }

    func removeFiles(of versions: [VersionID]) {
        for version in versions {
            let trash = folder.stagingPath()
            rename(folder.version(version.rawValue), trash)
            unlink(folder.artifact(version.rawValue))
            // The next start of the daemon would remove it too.
            try? FileManager.default.removeItem(atPath: trash)
        }
    }

    private func deployment(
        _ app: ApplicationID,
        _ version: VersionID,
        _ previous: VersionID?,
        _ warnings: [String],
        since begin: Uptime
    ) -> Deployment {
        Deployment(
            app: app,
            version: version,
            previousVersion: previous,
            url: url(of: app),
            elapsedMilliseconds: (uptime() - begin).milliseconds,
            warnings: warnings
        )
    }
}

/// Tells of the steps as they begin and end.
struct DeploymentRun: Sendable {
    let onEvent: @Sendable (DeploymentEvent) async -> Void

    func step<Value: Sendable>(
        _ step: DeploymentStep,
        _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        let begin = uptime()
        await onEvent(DeploymentEvent(step, .started))
        do {
            let value = try await withSpan("deployment \(step.rawValue)") { _ in try await body() }
            await onEvent(
                DeploymentEvent(step, .finished, elapsedMilliseconds: (uptime() - begin).milliseconds)
            )
            return value
        } catch {
            let shown = MartletError(error, while: step.rawValue)
            await onEvent(
                DeploymentEvent(
                    step,
                    .failed,
                    message: shown.message,
                    elapsedMilliseconds: (uptime() - begin).milliseconds
                )
            )
            throw shown
        }
    }

    func progress(_ step: DeploymentStep, _ message: String) async {
        await onEvent(DeploymentEvent(step, .progress, message: message))
    }
}
