import Control
import Foundation
import Logging
import Proxy
import Storage

/// The new host's side of a move: have the version ready, follow the databases, take the epoch, serve.
extension HostDaemon {
    /// Makes sure that a version is here with its dependencies.
    func prepare(_ specification: ApplicationSpecification) async throws -> PrepareReport {
        let begin = uptime()
        let (app, id) = (specification.app, specification.version)
        let isThere = FileManager.default.fileExists(atPath: folder.version(id.rawValue))
        if isThere, try await store.version(id, of: app) != nil {
            return PrepareReport(bytes: 0, milliseconds: 0)
        }
        let databases = try clusterDatabases()
        do {
            _ = try await store.claim(app, for: specification.owner, now: Date())
            let wasThere = FileManager.default.fileExists(atPath: folder.artifact(id.rawValue))
            try await databases.fetchArtifact(id)
            let archive = URL(fileURLWithPath: folder.artifact(id.rawValue))
            var version = try await unpack(archive, name: app)
            // Its registries may want to know who asks.
            try await setEnvironment(of: app, specification.environment)
            let unpacked = uptime()
            version = try await resolve(version) { _ in }
            let resolved = uptime()
            try await prepare(version)
            return PrepareReport(
                bytes: wasThere ? 0 : version.artifactBytes,
                milliseconds: (uptime() - begin).milliseconds,
                resolveMilliseconds: (resolved - unpacked).milliseconds
            )
        } catch {
            throw MartletError(error, while: "prepare \(app) \(id.short)")
        }
    }

    /// Starts a prepared version once on a copy of the data.
    func check(_ specification: ApplicationSpecification) async throws -> CheckReport {
        let begin = uptime()
        let version = try await preparedVersion(specification)
        try await setEnvironment(of: specification.app, specification.environment)
        let checked = try await check(
            UnpackedVersion(
                app: version.app,
                version: version.id,
                artifactBytes: version.artifactBytes,
                settings: version.settings,
                main: version.main,
                usesCache: version.usesCache
            )
        )
        if checked.usesCache != version.usesCache { try await prepare(checked) }
        return CheckReport(milliseconds: (uptime() - begin).milliseconds)
    }

    func preparedVersion(_ specification: ApplicationSpecification) async throws -> StateStore.Version {
        if let version = try await store.version(specification.version, of: specification.app) {
            return version
        }
        _ = try await prepare(specification)
        guard let version = try await store.version(specification.version, of: specification.app) else {
            throw MartletError(
                .internal,
                "\(specification.app) \(specification.version.short) was not prepared"
            )
        }
        return version
    }

    /// Begins a warm copy of the app's databases.
    func follow(_ order: FollowOrder) async throws -> FollowReport {
        let begin = uptime()
        let databases = try clusterDatabases()
        guard await databases.epoch(of: order.app) == nil else {
            throw MartletError(.conflict, "\(order.app) is placed on this host already")
        }
        let (count, bytes) = try await databases.follow(
            order.app,
            epoch: order.fromEpoch,
            limit: configuration.cluster?.moves.followedDatabases ?? 8
        )
        // Its start is to wait for no worker.
        do { if pool.isUsable { try await pool.keep(for: order.app.rawValue) } } catch is CancellationError {
            throw CancellationError()
        } catch {
            logger.info("no worker is kept for an app that comes", metadata: ["error": "\(error)"])
        }
        return FollowReport(databases: count, bytes: bytes, milliseconds: (uptime() - begin).milliseconds)
    }

    /// Takes the app's next epoch, gets its databases and serves it.
    func adopt(_ order: AdoptOrder) async throws -> AdoptReport {
        let databases = try clusterDatabases()
        let (app, specification) = (order.app, order.specification)
        if let report = await adopted(order, databases) { return report }
        let version = try await preparedVersion(specification)
        try await setEnvironment(of: app, specification.environment)
        let record = try await store.claim(app, for: specification.owner, now: Date())
        let placed = try await placeWarm(order, databases)
        guard placed.epoch >= order.epoch else {
            throw MartletError(
                .internal,
                "take \(app) at epoch \(order.epoch): the store says that \(placed.epoch) is the next"
            )
        }
        await databases.abandonFollow(app)
        let started = uptime()
        let entry = entries[app] ?? Self.makeEntry(record, limits: configuration.limits)
        entry.isRemoved = false
        entry.databaseBytes = Int(placed.bytes)
        entries[app] = entry
        defer { dropKeptWorker(of: app) }
        do {
            // What nothing was written under before is looked at on a copy first.
            if order.cause == .first, placed.databases > 0 { _ = try await check(specification) }
            // Requests of an app that moves wait for the end of this, and none of them needs its jobs.
            try await takeIntoService(entry, version, order, learnsJobsLater: order.cause == .move)
        } catch {
            guard order.cause == .failover else {
                await retreat(entry, databases)
                throw error
            }
            // It is this host's all the same: the next request tries again, and says what is wrong.
            entry.lastFailure = ApplicationStatus.Failure(
                message: MartletError(error, while: "start \(app)").message,
                at: Date()
            )
        }
        return AdoptReport(placed, startMilliseconds: order.isAwake ? (uptime() - started).milliseconds : 0)
    }

    /// Takes the app with what was followed of it where that will do, else from the replica.
    private func placeWarm(_ order: AdoptOrder, _ databases: AppDatabases) async throws -> PlacementReport {
        let (app, ended) = (order.app, order.endedTerms)
        if order.cause == .move, let epoch = order.fromEpoch, let positions = order.positions {
            do {
                if let placed = try await databases.placeWarm(app, from: epoch, at: positions, ended: ended) {
                    return placed
                }
            } catch {
                logger.warning(
                    "warm copies could not be used; the databases are restored",
                    metadata: ["app": "\(app)", "error": "\(error)"]
                )
            }
        }
        return try await place(app, ended: ended, databases)
    }

    /// The report of an order that has been carried out before.
    private func adopted(_ order: AdoptOrder, _ databases: AppDatabases) async -> AdoptReport? {
        guard let entry = entries[order.app], entry.departure == nil,
            entry.record.version == order.specification.version,
            let epoch = await databases.epoch(of: order.app), epoch >= order.epoch
        else { return nil }
        return AdoptReport(repeated: epoch)
    }

    private func dropKeptWorker(of app: ApplicationID) {
        // Mostly it has been taken. Giving it back may boot or end others, which nobody here waits for.
        spawn { [pool] in await pool.giveUp(app.rawValue) }
    }

    private func takeIntoService(
        _ entry: Entry,
        _ version: StateStore.Version,
        _ order: AdoptOrder,
        learnsJobsLater: Bool
    ) async throws {
        let app = entry.record.id
        if !learnsJobsLater || !order.isAwake { await learnJobs(of: app) }
        // Its flush to the disk goes on beside the start.
        async let used: Void = store.use(version, now: Date())
        entry.record.version = version.id
        entry.record.deployedAt = Date()
        entry.record.sleepAfter = version.settings.sleepAfter
        entry.lastFailure = nil
        guard order.isAwake else {
            entry.departure = nil
            table[app.rawValue] = entry.cell
            handle(.resume, entry)
            try await used
            return try await takeCron(of: version, routes: nil)
        }
        let instance: Instance
        do {
            instance = try await makeInstance(takeInstance(), version)
            try await used
        } catch {
            entry.departure = nil
            table[app.rawValue] = entry.cell
            handle(.resume, entry)
            throw error
        }
        guard entries[app] === entry else {
            await discard(instance, app)
            throw MartletError(.conflict, "\(app) was taken off this host while it was being started")
        }
        entry.departure = nil
        adopt(instance, entry)
        table[app.rawValue] = entry.cell
        handle(.adopt(instance.id), entry)
        if order.cause == .first { fillCache(instance, order.specification) }
        let routes = instance.report.cron ?? []
        guard learnsJobsLater else { return try await takeCron(of: version, routes: routes) }
        // Beside the requests that go on now; whoever looks for what is due waits for it.
        learningJobs[app] = Task { [self] in
            await learnJobs(of: app)
            if entries[app] === entry, entry.departure == nil {
                do { try await takeCron(of: version, routes: routes) } catch {
                    logger.error(
                        "the jobs of an app are not noted",
                        metadata: ["app": "\(app)", "error": "\(error)"]
                    )
                }
            }
            learningJobs[app] = nil
        }
    }

    /// Gets the jobs of an app, and which slots were given, from the host that had it before.
    private func learnJobs(of app: ApplicationID) async {
        do { try await learnCron(of: app) } catch {
            // The app is worth more than its jobs; those of its routes are learned when it starts.
            logger.error(
                "the jobs of an app are not known",
                metadata: ["app": "\(app)", "error": "\(error)"]
            )
        }
    }

    /// Of a version that was started without a check before and is slow to load, compiled modules are kept from now on.
    private func fillCache(_ instance: Instance, _ specification: ApplicationSpecification) {
        guard instance.startTime > configuration.limits.slowImport else { return }
        spawn { [self] in
            do { _ = try await check(specification) } catch {
                logger.warning(
                    "the compiled modules of an app are not kept",
                    metadata: ["app": "\(specification.app)", "error": "\(error)"]
                )
            }
        }
    }

    /// An app that could not be started is given up, so that its old host can have it back.
    private func retreat(_ entry: Entry, _ databases: AppDatabases) async {
        let app = entry.record.id
        handle(.suspend, entry)
        do {
            try await leave(entry, databases)
            entries[app] = nil
            table[app.rawValue] = nil
            try await store.remove(app)
        } catch {
            logger.error(
                "an app that could not be started was not given up",
                metadata: ["app": "\(app)", "error": "\(error)"]
            )
        }
    }

    /// Waits for the end of a suspended app's workers and gives its epoch up.
    func leave(_ entry: Entry, _ databases: AppDatabases) async throws {
        let app = entry.record.id
        while entry.awake != nil {
            if let instance = entry.awake?.instances.values.first {
                _ = await instance.gone.wait(atMost: .seconds(1))
            } else {
                try await Task.sleep(for: .milliseconds(2))
            }
        }
        guard await databases.epoch(of: app) != nil else { return }
        _ = try await databases.giveUp(app, within: configuration.cluster?.moves.settle ?? .seconds(20))
    }

    /// Claims an app as ordered.
    ///
    /// - Throws: ``MartletError`` with code `owned_elsewhere` and an ``OrderRefusal`` when another host has it.
    func place(
        _ app: ApplicationID,
        epoch: Int? = nil,
        ended: [String: Int] = [:],
        _ databases: AppDatabases
    ) async throws -> PlacementReport {
        do {
            return try await databases.place(app, PlacementOrder(epoch: epoch, ended: ended, isOrdered: true))
        } catch let error as MartletError where error.code == .conflict {
            guard let owner = try await databases.owner(of: app), owner.holder != configuration.host.rawValue
            else {
                throw error
            }
            throw MartletError(
                .ownedElsewhere,
                error.message,
                cause: OrderRefusal(epoch: owner.epoch, holder: HostID(owner.holder))
            )
        }
    }

    /// Goes on with an app whose move has come to nothing.
    func resume(_ order: ResumeOrder) async throws -> AdoptReport {
        let databases = try clusterDatabases()
        let entry = try entry(order.app)
        if entry.departure == nil, let epoch = await databases.epoch(of: order.app), epoch >= order.epoch {
            return AdoptReport(repeated: epoch)
        }
        return try await goOn(order.app, ended: order.endedTerms)
    }

    /// Takes an app's next epoch with the data that is here, or with another host's that has given it up since.
    ///
    /// When another host has the app, requests go there.
    func goOn(_ app: ApplicationID, ended: [String: Int] = [:]) async throws -> AdoptReport {
        let databases = try clusterDatabases()
        let entry = try entry(app)
        do {
            let owner = try await databases.owner(of: app)
            let isOwn = owner?.holder == configuration.host.rawValue
            let placed = try await place(
                app,
                epoch: isOwn ? owner.map { $0.epoch + 1 } : nil,
                ended: ended,
                databases
            )
            entry.departure = nil
            handle(.resume, entry)
            return AdoptReport(placed, startMilliseconds: 0)
        } catch let error as MartletError where error.code == .ownedElsewhere {
            lose(entry, to: (error.cause as? OrderRefusal)?.holder, because: error.message)
            throw error
        }
    }

    /// Another host has the app: requests go there, if it is known where that is, or wait for newer routes.
    func lose(_ entry: Entry, to holder: HostID?, because reason: String) {
        handle(.suspend, entry)
        if let holder, let peer = membership?.directory.peer(holder), peer.upstream != nil {
            send(entry, to: peer)
        } else {
            entry.departure = .lost(reason: reason)
            departed.insert(entry.record.id)
        }
    }
}

extension AdoptReport {
    fileprivate init(_ placed: PlacementReport, startMilliseconds: Int) {
        self.init(
            epoch: placed.epoch,
            databases: placed.databases,
            bytes: Int(placed.bytes),
            claimMilliseconds: placed.claimTime.milliseconds,
            restoreMilliseconds: placed.restoreTime.milliseconds,
            startMilliseconds: startMilliseconds
        )
    }

    /// Of an order that had been carried out before.
    fileprivate init(repeated epoch: Int) {
        self.init(
            epoch: epoch,
            databases: 0,
            bytes: 0,
            claimMilliseconds: 0,
            restoreMilliseconds: 0,
            startMilliseconds: 0
        )
    }
}
