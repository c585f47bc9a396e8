package import Control
import Foundation
package import Logging
package import Replication
package import Storage

/// The databases of a host's apps: whose they are, where they come from, and that they reach the replica.
///
/// ```
///            place                   opened                    closed (the last worker)
///   unknown ───────► placed, at rest ───────► attended ─────────────────────────────► placed, at rest
///      ▲                  │                     │  databases are found and streamed     (all is in the replica)
///      └──────────────────┴─── fence, remove ───┘
/// ```
/// An app at rest costs a few hundred bytes: no file is open, nothing is asked of the store.
package actor AppDatabases {
    package let configuration: HostStore
    package let host: HostID
    package let store: any ObjectStore
    package let replicator: LitestreamReplicator
    let folder: StateFolder
    let watcher: DatabaseWatcher
    let logger: Logger
    /// Told that this host may not run an app any more, and why.
    let onFence: @Sendable (ApplicationID, String) async -> Void

    var placed: [ApplicationID: Placed] = [:]
    var placing: [ApplicationID: Task<PlacementReport, any Error>] = [:]
    /// The host's right to act; nil before it was taken, and after it was lost.
    package private(set) var lease: Lease<ContinuousClock>? {
        didSet { right.lease = lease }
    }
    /// The same, for those who ask without waiting.
    package nonisolated let right: LeaseRight
    /// Warm copies of databases that other hosts write, by app.
    var following: [ApplicationID: WarmCopy] = [:]
    private var leaseFailure: (any Error)?
    private var tasks: [Task<Void, Never>] = []
    private(set) var isStopping = false
    /// Terms of other hosts' leases that this host ended and waited out, and those it is about to.
    var knownEnds: [String: Int] = [:]
    var ending: [String: Task<Int?, any Error>] = [:]

    /// What is known of an app that is placed here.
    ///
    /// Unchecked, because only the actor reads or changes it; others hold on to it without looking inside.
    final class Placed: @unchecked Sendable {
        let app: ApplicationID
        let claim: Ownership.Claim
        var record: EpochRecord
        var local: LocalPlacement
        /// Workers that have the data folder; a new version has it together with the old one.
        var workers = 0
        /// The databases that are streamed now, by path below the data folder.
        var streamed: [String: Streamed] = [:]
        /// Holds answers until their writes are in the replica; nil while no worker's answers wait.
        var gate: AppGate?
        var news: FolderNewsReader?
        /// The lease under which the app was placed.
        let lease: Lease<ContinuousClock>
        /// What was begun with the databases, one after the other.
        var tail: Task<Void, Never>?
        /// Of these, what begins to watch the data folder for the workers that there are.
        var attending: Task<Void, Never>?
        /// When the replica of each database was last restored and found sound.
        var proven: [String: Date] = [:]
        /// Set once the last sync has failed and is tried again.
        var isLate = false
        /// The record in the store is behind the one here.
        var isRecordDirty = false
        /// The replica of the epoch before is not all in that of this one yet.
        var isContinuing = false
        /// The data here is on the disk, so that it may be noted that it is whole.
        var isFlushed = true

        var epoch: Int { claim.epoch }

        init(
            app: ApplicationID,
            claim: Ownership.Claim,
            lease: Lease<ContinuousClock>,
            record: EpochRecord,
            local: LocalPlacement
        ) {
            self.app = app
            self.lease = lease
            self.claim = claim
            self.record = record
            self.local = local
        }
    }

    /// A database that Litestream streams.
    struct Streamed {
        let database: ReplicatedDatabase
        let inode: UInt64
        /// Why it can't be replicated at all.
        var problem: ReplicationError?
    }

    /// Opens the store and begins to replicate.
    ///
    /// - Throws: ``MartletError`` that says what is missing.
    package static func open(
        _ configuration: HostStore,
        host: HostID,
        folder: StateFolder,
        right: LeaseRight = LeaseRight(),
        logger: Logger,
        onFence: @escaping @Sendable (ApplicationID, String) async -> Void
    ) async throws -> AppDatabases {
        do {
            let store = try await ObjectStores.open(configuration.address, logger: logger)
            var settings = LitestreamSettings(
                executable: configuration.litestream,
                stateFolder: folder.replication,
                address: configuration.address
            )
            settings.syncTimeout = configuration.syncTimeout
            settings.retention = configuration.retention
            let replicator = LitestreamReplicator(settings: settings, store: store, logger: logger)
            let databases = AppDatabases(
                configuration,
                host: host,
                folder: folder,
                store: store,
                replicator: replicator,
                watcher: try DatabaseWatcher(logger: logger),
                right: right,
                logger: logger,
                onFence: onFence
            )
            await databases.start()
            return databases
        } catch {
            throw Self.shown(error, "open the object store")
        }
    }

    private init(
        _ configuration: HostStore,
        host: HostID,
        folder: StateFolder,
        store: any ObjectStore,
        replicator: LitestreamReplicator,
        watcher: DatabaseWatcher,
        right: LeaseRight,
        logger: Logger,
        onFence: @escaping @Sendable (ApplicationID, String) async -> Void
    ) {
        self.configuration = configuration
        self.host = host
        self.folder = folder
        self.store = store
        self.replicator = replicator
        self.watcher = watcher
        self.right = right
        self.logger = logger
        self.onFence = onFence
    }

    /// They live as long as the host, and are ended by ``stop()`` after the last sync: so they are children of no task
    /// that could be cancelled before.
    private func start() {
        tasks = [
            Task { [replicator, logger] in
                do { try await replicator.run() } catch {
                    logger.error("replication can not run", metadata: ["error": "\(error)"])
                }
            },
            Task { [watcher, logger] in
                do { try await watcher.run() } catch is CancellationError {} catch {
                    logger.error("data folders are not watched", metadata: ["error": "\(error)"])
                }
            },
            Task { await self.keepLease() },
            Task { await self.proveAndPrune() },
        ]
    }

    /// Brings what is left to the replica, gives the lease back and stops replicating.
    ///
    /// Workers have ended before.
    package func stop() async {
        isStopping = true
        let deadline = ContinuousClock.now + configuration.syncTimeout + .seconds(5)
        for entry in placed.values {
            entry.workers = 0
            if !entry.streamed.isEmpty || entry.tail != nil {
                enqueue(entry) { await self.settle(entry, until: deadline) }
            }
        }
        for entry in placed.values { await entry.tail?.value }
        let isComplete = placed.values.allSatisfy { $0.streamed.isEmpty }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
        tasks = []
        if isComplete, let lease {
            do { try await lease.giveBack() } catch {
                logger.info("the lease was not given back", metadata: ["error": "\(error)"])
            }
        }
        lease = nil
        do { try await (store as? S3Store)?.shutdown() } catch {
            logger.debug("the store's connections did not close", metadata: ["error": "\(error)"])
        }
    }

    // MARK: - The lease

    private func keepLease() async {
        var pause = Duration.milliseconds(100)
        while !Task.isCancelled {
            do {
                let lease = try await Lease.take(
                    holder: host.rawValue,
                    duration: configuration.leaseDuration,
                    margin: configuration.leaseMargin,
                    process: UUID().uuidString,
                    store: store,
                    clock: ContinuousClock()
                )
                self.lease = lease
                leaseFailure = nil
                pause = .milliseconds(100)
                try await lease.run { [logger] error in
                    logger.warning("the host's lease was not renewed", metadata: ["error": "\(error)"])
                }
            } catch {
                if Task.isCancelled { return }
                leaseFailure = error
                if lease != nil {
                    lease = nil
                    logger.error("the host has lost its lease", metadata: ["error": "\(error)"])
                    for entry in Array(placed.values) {
                        await fence(entry.app, because: "the lease of host \(host) is over")
                    }
                    // Whoever revoked it waits for its end and then gives the apps away; coming back sooner would only
                    // disturb, and the apps would change hands once more.
                    pause = max(pause, configuration.leaseDuration * 2)
                }
                // Cancelled only when the host stops.
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(5))
            }
        }
    }

    /// The host's right to act now.
    ///
    /// - Throws: ``MartletError`` with code `unavailable`.
    func requireLease() async throws -> Lease<ContinuousClock> {
        let deadline = ContinuousClock.now + .seconds(10)
        while true {
            if let lease, lease.isValid { return lease }
            guard ContinuousClock.now < deadline, !isStopping else {
                throw MartletError(
                    .unavailable,
                    "this host may not act now: its lease in \(store.location) "
                        + (lease == nil ? "could not be taken" : "could not be renewed in time")
                        + "; is the object store reachable?",
                    cause: leaseFailure
                )
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Ends an app's placement here at once: another host has a newer one, or the lease is lost.
    package func fence(_ app: ApplicationID, because reason: String) async {
        guard let entry = placed.removeValue(forKey: app) else { return }
        logger.error("an app is no longer this host's", metadata: ["app": "\(app)", "reason": "\(reason)"])
        let (data, streamed) = (folder.data(app.rawValue), entry.streamed.values)
        entry.streamed = [:]
        entry.gate?.end(reason)
        await watcher.remove(data)
        await onFence(app, reason)
        for one in streamed {
            do { try await replicator.forget(one.database) } catch {
                logger.debug("a database was not forgotten", metadata: ["error": "\(error)"])
            }
        }
    }

    // MARK: - Placing

    /// Makes the app this host's, with its databases as the replica has them.
    ///
    /// Calling it for one that is placed already does nothing; calls at the same time share the work.
    ///
    /// - Throws: ``MartletError``: `conflict` when another host has the app, `unavailable` when the store is out of
    ///   reach, `data_damaged` when the replica can't give a sound database.
    package func place(
        _ app: ApplicationID,
        _ order: PlacementOrder = PlacementOrder(),
        progress: @escaping @Sendable (RestoreProgress) -> Void = { _ in }
    ) async throws -> PlacementReport {
        while true {
            if let entry = placed[app], order.epoch.map({ $0 == entry.epoch }) ?? true, order.time == nil {
                return PlacementReport(epoch: entry.epoch)
            }
            guard let running = placing[app] else { break }
            // The order may be another one: then it is looked at again.
            _ = await running.result
        }
        // Shared by all who wait, so that it ends with none of them.
        let task = Task { try await self.placeNow(app, order, progress: progress) }
        placing[app] = task
        defer { placing[app] = nil }
        return try await task.value
    }

    /// The epoch under which the app is placed here.
    package func epoch(of app: ApplicationID) -> Int? { placed[app]?.epoch }

    /// The epochs of all apps that are placed here.
    package var epochs: [ApplicationID: Int] { placed.mapValues(\.epoch) }

    /// Appends work to what is done with an app's databases.
    @discardableResult
    func enqueue(_ entry: Placed, _ work: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        let before = entry.tail
        // In order, and beside whatever the caller goes on to do; each piece has a deadline of its own.
        let task = Task {
            await before?.value
            await work()
        }
        entry.tail = task
        return task
    }
}
