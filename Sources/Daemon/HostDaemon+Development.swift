package import Control
package import Foundation
import Logging
import Proxy
import Synchronization

/// A folder that is served as it is, while somebody works on it.
package final class Development: Sendable {
    /// The folder that workers see as the app.
    package let files: String
    /// The file with the types, relative to the data folder.
    let schema: String?
    private let spare: Mutex<Worker?>

    init(files: String, schema: String?, spare: Worker?) {
        self.files = files
        self.schema = schema
        self.spare = Mutex(spare)
    }

    func takeSpare() -> Worker? {
        spare.withLock { spare in
            defer { spare = nil }
            return spare
        }
    }
}

extension HostDaemon {
    /// What came of a start.
    package struct DevelopmentStart: Sendable {
        package var routes: [WorkerMessage.Started.Route]
        package var unchecked: [String]
        package var elapsed: Duration
    }

    /// Serves the folder `files` as `app`; the version before it, if there is one, serves until this one is ready.
    ///
    /// `schema`: the types of its handlers, relative to its data folder. The data stays where it is from start to start.
    ///
    /// - Throws: ``MartletError`` whose cause is the ``WorkerError`` with the place in the source.
    package func develop(
        _ app: ApplicationID,
        files: String,
        schema: String?
    ) async throws -> DevelopmentStart {
        let begin = uptime()
        let (settings, main) = try UnpackedVersion.read(files)
        // A version of its own each time: what is logged says which.
        let hex = UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
        let stored = StateStore.Version(
            id: try VersionID(validating: hex + hex),
            app: app,
            createdAt: Date(),
            artifactBytes: 0,
            usesCache: false,
            main: main,
            settings: settings
        )
        let record = try await store.claim(app, for: .local, now: Date())
        let entry = entries[app] ?? Self.makeEntry(record, limits: configuration.limits)
        entries[app] = entry
        let spare = takeSpare(files)
        let development = Development(files: files, schema: schema, spare: spare)
        let instance = try await makeInstance(takeInstance(), stored, develops: development)
        developed = Developed(development: development, app: app)
        // A worker that is asked for later finds it.
        try await store.add(stored)
        try await store.use(stored, now: Date())
        entry.record.version = stored.id
        entry.record.sleepAfter = settings.sleepAfter
        entry.lastFailure = nil
        adopt(instance, entry)
        table[app.rawValue] = entry.cell
        handle(.adopt(instance.id), entry)
        try await takeCron(of: stored, routes: instance.report.cron ?? [])
        _ = try await store.prune(app, keeping: 0)
        let elapsed = uptime() - begin
        spawn { [self] in await prepareSpare(app, files) }
        return DevelopmentStart(
            routes: instance.report.table ?? [],
            unchecked: instance.report.unchecked ?? [],
            elapsed: elapsed
        )
    }

    /// Answers every request of an app with a page, until the next start.
    package func showFailure(of app: ApplicationID, _ html: String) async throws {
        let record = try await store.claim(app, for: .local, now: Date())
        let entry = entries[app] ?? Self.makeEntry(record, limits: configuration.limits)
        entries[app] = entry
        table[app.rawValue] = entry.cell
        let answer = ReadyAnswer(
            status: 500,
            headers: [
                (name: "Content-Type", value: "text/html; charset=utf-8"),
                (name: "X-Martlet-Dev", value: "failed"),
                (name: "Cache-Control", value: "no-store"),
            ],
            body: Array(html.utf8)
        )
        entry.cell.respond(answer)
        proxy?.refuseHeld(entry.cell.waiting, with: answer)
    }

    /// Boots a worker with the folders of the app, so that the next start costs no boot.
    package func prepareSpare(_ app: ApplicationID, _ files: String) async {
        guard spare == nil, !isStopping else { return }
        let data = folder.data(app.rawValue)
        do {
            try StateFolder.make(data, mode: 0o700)
            let worker = try await pool.boot(
                WorkerFolders(app: files, data: data, cache: nil),
                memoryLimit: nil
            )
            if spare == nil, !isStopping { spare = (files, worker) } else { await worker.destroy() }
        } catch {
            // The next start boots its own, and says what is wrong.
            logger.debug("no spare worker", metadata: ["error": "\(error)"])
        }
    }

    private func takeSpare(_ files: String) -> Worker? {
        guard let (own, worker) = spare, own == files, worker.end.value == nil else { return nil }
        spare = nil
        return worker
    }
}

/// The folder that is being worked on, and its app.
struct Developed {
    var development: Development
    var app: ApplicationID
}

extension HostDaemon {
    /// In the data folder, so that the worker may read it.
    private static let schemaName = ".schema.json"

    /// What a deployment would find.
    package struct Trial: Sendable {
        package var main: String
        package var startMilliseconds: Int
        package var routes: [WorkerMessage.Started.Route]
        package var cron: [String]
        package var warnings: [String]
    }

    /// Does what a deployment does up to the start of the app, and gives back what was found; nothing stays.
    ///
    /// `schema`: the file with the types of its handlers, where they were read.
    package func tryOut(_ archive: URL, name: ApplicationID, schema: URL?) async throws -> Trial {
        do {
            var version = try await unpack(archive, name: name)
            version = try await resolve(version) { _ in }
            let stored = StateStore.Version(
                id: version.version,
                app: version.app,
                createdAt: Date(),
                artifactBytes: version.artifactBytes,
                usesCache: false,
                main: version.main,
                settings: version.settings
            )
            let data = folder.stagingPath()
            try StateFolder.make(data, mode: 0o700)
            let files = folder.unfinished(version.version.rawValue)
            if let schema {
                try FileManager.default.copyItem(atPath: schema.path, toPath: data + "/" + Self.schemaName)
            }
            let instance = try await makeInstance(
                takeInstance(),
                stored,
                data: data,
                files: files,
                develops: Development(files: files, schema: schema.map { _ in Self.schemaName }, spare: nil)
            )
            await instance.worker.stop(.shutdown, grace: .seconds(1))
            let unchecked = (instance.report.unchecked ?? []).map {
                "the input of \($0) is not checked: its handler has no types, or is written inside of the table"
            }
            return Trial(
                main: version.main,
                startMilliseconds: instance.startTime.milliseconds,
                routes: instance.report.table ?? [],
                cron: instance.report.cron ?? [],
                warnings: unchecked
            )
        } catch {
            throw MartletError(error, while: "check \(name)")
        }
    }
}
