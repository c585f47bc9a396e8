import Archive
public import Control
import Dispatch
public import Foundation
import Proxy

/// The steps of a deployment.
///
/// Each can be called again after it was interrupted, and does then what is left to do; none calls another.
/// ``deploy(_:onEvent:)`` calls them in order on one host, workflows do it on a cluster.
extension HostDaemon {
    /// Makes a folder of an archive that is not to be trusted, and reads its settings.
    ///
    /// `name`: the app's name; without it the settings must have one.
    /// Throws ``MartletError`` with code `invalid_archive`, `too_large`, `invalid_settings`, `bad_request` or
    ///   `disk_full`.
    public func unpack(_ archive: URL, name: ApplicationID?) async throws -> UnpackedVersion {
        let (folder, reserve) = (folder, configuration.limits.freeDiskBytes)
        let path = archive.path(percentEncoded: false)
        return try await onQueue(.global(qos: .userInitiated)) {
            let (digest, bytes) = try FileDigest.sha256(path)
            let version = try VersionID(digest: digest)
            let (final, unfinished) = (folder.version(version.rawValue), folder.unfinished(version.rawValue))
            let isThere = { FileManager.default.fileExists(atPath: $0) }
            if !isThere(final) && !isThere(unfinished) {
                // Archives of scripts are about a fifth of their content.
                let needed = bytes * 6 + reserve
                if let free = StateFolder.freeBytes(folder.path), free < needed {
                    throw MartletError(
                        .diskFull,
                        "the host's disk has \(ByteCount.format(free)) left and this deployment may need "
                            + "\(ByteCount.format(needed)); make room and try again"
                    )
                }
                let staging = folder.stagingPath()
                _ = try ArchiveReader.unpack(archive, into: URL(fileURLWithPath: staging))
                try StateFolder.move(staging, to: unfinished)
            }
            if !isThere(folder.artifact(version.rawValue)) {
                let staging = folder.stagingPath()
                if link(path, staging) != 0 { try Self.copy(path, to: staging) }
                try StateFolder.move(staging, to: folder.artifact(version.rawValue))
            }
            let (settings, main) = try UnpackedVersion.read(isThere(unfinished) ? unfinished : final)
            guard let app = name ?? settings.name else {
                throw MartletError(
                    .badRequest,
                    "the app has no name: add \"name\" to martlet.json, or deploy with --name NAME"
                )
            }
            return UnpackedVersion(
                app: app,
                version: version,
                artifactBytes: bytes,
                settings: settings,
                main: main
            )
        }
    }

    /// Starts the version once, with a copy of the app's data, and ends it, to see whether its script loads and keeps the contract.
    ///
    /// - Throws: ``MartletError`` with code `check_failed` and the script's own error.
    public func check(_ version: UnpackedVersion) async throws -> UnpackedVersion {
        let scratch = folder.stagingPath()
        // The next start of the daemon would remove it too.
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        let source = folder.data(version.app.rawValue)
        let isCopied = try await onQueue(.global(qos: .userInitiated)) {
            try DataSnapshot.make(of: source, at: scratch + "/data", maximumBytes: 64 << 20)
        }
        if !isCopied {
            // Then the start is the check: the version that serves goes on until it succeeds.
            return version
        }
        var checked = version
        var stored = storedVersion(version)
        let elapsed = try await tryOut(stored, data: scratch + "/data", files: files(of: version))
        let limits = configuration.limits
        let isLarge = try await onQueue(.global(qos: .userInitiated)) { [files = files(of: version)] in
            ScriptSize.reaches(limits.largeScriptBytes, in: files)
        }
        if elapsed > limits.slowImport, isLarge {
            // Once more, to fill the folder of compiled modules.
            stored.usesCache = true
            checked.usesCache = true
            _ = try await tryOut(stored, data: scratch + "/data", files: files(of: version))
        }
        return checked
    }

    private func tryOut(_ version: StateStore.Version, data: String, files: String) async throws -> Duration {
        let instance = try await makeInstance(takeInstance(), version, data: data, files: files)
        await instance.worker.stop(.shutdown, grace: .seconds(1))
        return instance.startTime
    }

    /// Puts the version in its place on this host.
    public func prepare(_ version: UnpackedVersion) async throws {
        let (final, unfinished) = (
            folder.version(version.version.rawValue), folder.unfinished(version.version.rawValue)
        )
        if !FileManager.default.fileExists(atPath: final) {
            try await onQueue(.global(qos: .userInitiated)) { try StateFolder.move(unfinished, to: final) }
        }
        try await store.add(storedVersion(version))
    }

    /// Starts the version beside the one that serves, and sends it the requests from then on.
    ///
    /// - Returns: whether an older worker is left, which then drains.
    /// - Throws: ``MartletError`` with code `check_failed`; the old version serves on then.
    public func start(_ app: ApplicationID, version: VersionID) async throws -> Bool {
        guard let stored = try await store.version(version, of: app) else {
            throw MartletError(
                .notFound,
                "\(app) has no version \(version.short); `martlet versions \(app)` lists them"
            )
        }
        let instance = try await makeInstance(takeInstance(), stored)
        do {
            try await store.use(stored, now: Date())
        } catch {
            await discard(instance, app)
            throw error
        }
        guard let entry = entries[app] else {
            await discard(instance, app)
            throw MartletError(.notFound, "\(app) was deleted while it was being deployed")
        }
        let old = entry.awake?.instances.values.contains { $0.stopReason == nil } ?? false
        entry.record.version = version
        entry.record.deployedAt = Date()
        entry.record.sleepAfter = stored.settings.sleepAfter
        entry.lastFailure = nil
        adopt(instance, entry)
        table[app.rawValue] = entry.cell
        handle(.adopt(instance.id), entry)
        try await takeCron(of: stored, routes: instance.report.cron ?? [])
        return old
    }

    /// Waits until the workers of older versions have finished what they handle.
    public func drain(_ app: ApplicationID) async throws {
        let deadline = uptime() + configuration.timeouts.drain + .seconds(1)
        for instance in retiring(app) {
            while instance.counted.activity.runningRequests > 0, uptime() < deadline,
                instance.gone.value == nil
            {
                try await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    /// Waits until the workers of older versions are gone.
    public func stop(_ app: ApplicationID) async throws {
        let patience = configuration.timeouts.drain + configuration.timeouts.stop + .seconds(10)
        for instance in retiring(app) {
            if await instance.gone.wait(atMost: patience) == nil {
                throw MartletError(
                    .timeout,
                    "an old worker of \(app) has not ended; see `martlet logs \(app)`"
                )
            }
        }
    }

    private func retiring(_ app: ApplicationID) -> [Instance] {
        entries[app]?.awake?.instances.values.filter { $0.stopReason != nil } ?? []
    }

    private func files(of version: UnpackedVersion) -> String {
        let unfinished = folder.unfinished(version.version.rawValue)
        return FileManager.default.fileExists(atPath: unfinished)
            ? unfinished : folder.version(version.version.rawValue)
    }

    private func storedVersion(_ version: UnpackedVersion) -> StateStore.Version {
        StateStore.Version(
            id: version.version,
            app: version.app,
            createdAt: Date(),
            artifactBytes: version.artifactBytes,
            usesCache: version.usesCache,
            main: version.main,
            settings: version.settings
        )
    }

    private static func copy(_ path: String, to target: String) throws {
        do { try FileManager.default.copyItem(atPath: path, toPath: target) } catch {
            throw SystemError(errno == 0 ? EIO : errno, "copy \(path) to \(target)")
        }
    }
}
