import Control
import Foundation
import Proxy

extension HostDaemon {
    /// Starts a version in a worker, with the app's own data, and waits until it is ready.
    ///
    /// - Throws: ``MartletError`` with the app's own error.
    func makeInstance(
        _ id: InstanceID,
        _ version: StateStore.Version,
        data: String? = nil,
        files: String? = nil,
        develops development: Development? = nil
    ) async throws -> Instance {
        let app = version.app.rawValue
        let isLive = data == nil
        let gate =
            isLive ? try await openDatabases(version.app, durability: version.settings.durability) : nil
        do {
            return try await launch(
                id,
                version,
                data: data ?? folder.data(app),
                files: files,
                isLive: isLive,
                develops: development,
                gate: gate
            )
        } catch {
            if isLive { await databases?.closed(version.app) }
            throw error
        }
    }

    private func launch(
        _ id: InstanceID,
        _ version: StateStore.Version,
        data: String,
        files: String?,
        isLive: Bool,
        develops development: Development?,
        gate: (any AnswerGate)?
    ) async throws -> Instance {
        let app = version.app.rawValue
        try StateFolder.make(data, mode: 0o700)
        let cache = version.usesCache ? folder.cache(app, version.id.rawValue) : nil
        if let cache { try StateFolder.make(cache, mode: 0o700) }
        let folders = WorkerFolders(
            app: files ?? development?.files ?? folder.version(version.id.rawValue),
            data: data,
            cache: cache
        )
        let limits = version.settings.limits
        let memory = limits.memoryBytes ?? configuration.limits.memoryBytes
        let requestTimeout = limits.requestTimeout ?? configuration.limits.requestTimeout
        let groupLimits = ControlGroupLimits(
            memoryBytes: memory,
            cpu: limits.cpu ?? configuration.limits.cpu,
            processes: configuration.limits.processes
        )
        let bounds = Instance.Bounds(
            requestTimeout: requestTimeout,
            limits: groupLimits,
            data: data,
            disk: configuration.limits.disk(limits.diskBytes),
            load: configuration.limits.load
        )
        var order = StartOrder(
            app: app,
            version: version.id.rawValue,
            main: version.main,
            environment: try await startEnvironment(of: version),
            folders: folders,
            limits: groupLimits,
            network: NamePolicy(version.settings.network),
            fileBytes: bounds.disk.bytes,
            publicURL: String(url(of: version.app).dropLast()),
            requestTimeout: requestTimeout,
            waitUntil: configuration.timeouts.waitUntil,
            deadline: configuration.timeouts.start,
            schema: development.map { $0.schema.map(StartOrder.Schema.data) }
                ?? (TypeSchema.exists(in: folders.app) ? .app(TypeSchema.path) : nil),
            isDevelopment: development != nil
        )
        let swept = try await onQueue(.global(qos: .userInitiated)) { try DataSweep.perform(data) }
        let log = logs.log(of: version.app)
        if let note = swept.note { log.note(note, version: version.id, level: .warn) }
        order.yieldsCPU = isLive && (entries[version.app]?.isBusy(uptime()) ?? false)
        // A heap that is larger than the pool's must be asked for at boot, and so must a folder for compiled modules.
        let isFromPool = pool.isUsable && cache == nil && memory <= configuration.limits.memoryBytes
        let worker: Worker
        if let spare = development?.takeSpare() {
            worker = spare
        } else {
            worker =
                isFromPool
                ? try await pool.take(for: app, isUrgent: !order.yieldsCPU)
                : try await pool.boot(folders, memoryLimit: memory)
        }
        do {
            let begin = uptime()
            let started = try await worker.start(order) { kind, line in
                let record = OutputLine.record(
                    line,
                    isError: kind == .error,
                    app: version.app,
                    version: version.id,
                    now: Date()
                )
                log.write(record)
            }
            let time = started.ms.map { Duration.microseconds(Int($0 * 1000)) } ?? uptime() - begin
            return Instance(
                id: id,
                app: version.app,
                version: version.id,
                worker: worker,
                appLimits: AppLimits(),
                bounds: bounds,
                startTime: time,
                hasLiveData: isLive,
                report: started,
                disk: swept.usage,
                yields: order.yieldsCPU,
                gate: gate
            )
        } catch {
            await worker.destroy()
            if let error = error as? WorkerError {
                throw MartletError(.checkFailed, error.description, cause: error)
            }
            throw error
        }
    }

    /// The variables of the settings, and over them those that were set by `martlet env`.
    private func startEnvironment(of version: StateStore.Version) async throws -> [String: String] {
        var environment = version.settings.env
        for variable in try await store.environment(of: version.app) {
            environment[variable.name] = try clear(variable, of: version.app)
        }
        if membership != nil {
            // So that an app, or a test of the cluster, can tell where it runs, and as which of its placements.
            environment["MARTLET_HOST"] = configuration.host.rawValue
            environment["MARTLET_EPOCH"] = await databases?.epoch(of: version.app).map(String.init)
        }
        return environment
    }
}
