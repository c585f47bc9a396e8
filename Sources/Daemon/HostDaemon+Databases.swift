public import Control
import Foundation
import Proxy
import Replication
import Storage

/// The apps' databases as the host's other parts use them; a host without a store keeps data where it is.
extension HostDaemon {
    /// Opens the object store and begins to replicate.
    func openStore() async throws {
        guard databases == nil, let configuration = configuration.store else { return }
        databases = try await AppDatabases.open(
            configuration,
            host: self.configuration.host,
            folder: folder,
            right: membership?.right ?? LeaseRight(),
            logger: logger
        ) { [weak self] app, reason in
            await self?.fenced(app, reason)
        }
        try await listStoredApplications()
    }

    /// What the start-up output says about the object store.
    public nonisolated var storeSummary: String {
        guard let store = configuration.store else { return "on this host alone, not replicated" }
        let place =
            switch store.address {
            case .folder(let path): path
            case .s3(let settings): "s3://\(settings.bucket)/\(settings.prefix) at \(settings.authority)"
            }
        return "replicated to \(place), answers \(store.isRemote ? "wait for it" : "do not wait for it")"
    }

    /// Brings the last changes to the replica.
    ///
    /// The workers have ended; the jobs that notice that may not have run, so it is said here again.
    func closeStore(after instances: [Instance]) async {
        guard let databases else { return }
        // Its work must be done even when the host's task was cancelled, and has a deadline of its own.
        await Task { await databases.stop() }.value
        self.databases = nil
    }

    /// Gets the app's databases, from the replica where they are not here.
    ///
    /// `onProgress` is told what a person is to read.
    ///
    /// - Returns: the bytes that were restored.
    /// - Throws: ``MartletError``, with code `data_damaged` when the replica can't give sound databases; it says to which
    ///   time they can be restored.
    @discardableResult
    public func restore(
        _ app: ApplicationID,
        onProgress: @escaping @Sendable (String) async -> Void = { _ in }
    ) async throws -> Int {
        guard let databases else {
            try StateFolder.make(folder.data(app.rawValue), mode: 0o700)
            return 0
        }
        let (lines, source) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(1))
        async let told: Void = {
            for await line in lines { await onProgress(line) }
        }()
        let report: PlacementReport
        do {
            report = try await databases.place(app) {
                source.yield(
                    "\(ByteCount.format(Int($0.doneBytes))) of \(ByteCount.format(Int($0.totalBytes))) restored"
                )
            }
        } catch {
            source.finish()
            await told
            throw error
        }
        if report.databases > 0 {
            source.yield(
                "\(report.databases) \(report.databases == 1 ? "database" : "databases") restored, "
                    + ByteCount.format(Int(report.bytes))
            )
        }
        source.finish()
        await told
        return Int(report.bytes)
    }

    /// Makes the data of an app ready for a worker, and begins to stream it.
    ///
    /// - Returns: what the worker's answers pass through.
    func openDatabases(
        _ app: ApplicationID,
        durability: ApplicationSettings.Durability?
    ) async throws -> (any AnswerGate)? {
        guard let databases else { return nil }
        _ = try await databases.place(app)
        return try await databases.opened(app, durability: durability)
    }

    /// Ends a worker, and lets its databases go.
    func discard(_ instance: Instance, _ app: ApplicationID) async {
        await instance.worker.destroy()
        if instance.hasLiveData { await databases?.closed(app) }
    }

    /// Another host has the app, or this one may not act any more: its workers end at once.
    private func fenced(_ app: ApplicationID, _ reason: String) {
        guard let entry = entries[app] else { return }
        if membership != nil, entry.departure == nil { lose(entry, to: nil, because: reason) }
        logs.log(of: app).note("stopped: \(reason)", version: entry.record.version, level: .error)
        entry.lastFailure = ApplicationStatus.Failure(message: reason, at: Date())
        for instance in entry.awake?.instances.values ?? [:].values {
            instance.worker.kill()
        }
    }
}
