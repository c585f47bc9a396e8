import ClusterContract
package import Control
import ControlClient
package import Foundation
import Synchronization
import Temporal

extension ClusterService: ApplicationService {
    package func deploy(
        _ upload: Upload,
        onEvent: @escaping @Sendable (DeploymentEvent) async -> Void
    ) async throws -> Deployment {
        let begin = ContinuousClock.now
        let artifact = try await Artifact(upload.archive, name: upload.name)
        let app = artifact.app
        try await claim(app, bytes: artifact.bytes, cpu: artifact.cpu, for: upload.owner)
        try await artifact.keep(in: store)
        let operation = UUID().uuidString
        let request = DeployRequest(
            operation: operation,
            version: artifact.version,
            artifactBytes: artifact.bytes,
            owner: upload.owner
        )
        let handle = try await asked("deploy \(app)") {
            try await client.updateWithStart(
                ApplicationWorkflow.self,
                input: ApplicationInput(app: app, timing: timing),
                options: StartWorkflowOptions(
                    id: ClusterNames.workflow(of: app),
                    taskQueue: ClusterNames.controlQueue
                ),
                update: ApplicationWorkflow.deploy,
                updateInput: request,
                updateID: operation
            )
        }
        let result = try await followed(operation, of: app, "deploy \(app)", onEvent) {
            try await handle.result()
        }
        return deployment(app, artifact.version, result, since: begin)
    }

    package func rollback(
        _ app: ApplicationID,
        to version: VersionID?,
        onEvent: @escaping @Sendable (DeploymentEvent) async -> Void
    ) async throws -> Deployment {
        let begin = ContinuousClock.now
        let target = try await state(of: app).earlier(version).id
        let operation = UUID().uuidString
        let request = RollbackRequest(operation: operation, version: target)
        let result = try await followed(operation, of: app, "roll \(app) back", onEvent) {
            try await handle(of: app).update(ApplicationWorkflow.rollback, input: request, id: operation)
        }
        return deployment(app, target, result, since: begin)
    }

    package func applications() async throws -> [ApplicationStatus] {
        let residences = try await residences()
        let hosts = try await hosts().filter { [.online, .draining].contains($0.state) }
        let token = try secret.apiToken
        var known: [ApplicationID: ApplicationStatus] = [:]
        await withTaskGroup(of: [ApplicationStatus].self) { group in
            for host in hosts {
                group.addTask {
                    // A host that does not answer is in the listing without the particulars that only it knows.
                    guard let endpoint = try? Endpoint(validating: host.api),
                        let apps = try? await APIClient(endpoint: endpoint, token: token).applications()
                    else { return [] }
                    return apps.map { app in
                        var app = app
                        app.host = host.id
                        return app
                    }
                }
            }
            for await apps in group {
                for app in apps where residences[app.id]?.host == app.host { known[app.id] = app }
            }
        }
        var statuses: [ApplicationStatus] = []
        for (app, residence) in residences {
            if var status = known[app] {
                status.url = url(app)
                statuses.append(status)
            } else if residence.epoch > 0 {
                statuses.append(try await application(app))
            }
        }
        return statuses.sorted { $0.id < $1.id }
    }

    package func application(_ app: ApplicationID) async throws -> ApplicationStatus {
        let state = try await state(of: app)
        let current = state.versions.first { $0.id == state.version }
        var status = ApplicationStatus(
            id: app,
            owner: state.owner ?? .local,
            state: .starting,
            version: current?.id,
            url: url(app),
            host: state.placement?.host.id,
            createdAt: state.createdAt,
            deployedAt: state.deployedAt
        )
        guard let host = state.placement?.host.id else { return status }
        do {
            let own = try await api(of: host).application(app)
            status.state = own.state
            status.lastRequestAt = own.lastRequestAt
            status.requests = own.requests
            status.activeRequests = own.activeRequests
            status.sleepAfterSeconds = own.sleepAfterSeconds
            status.memoryBytes = own.memoryBytes
            status.lastError = own.lastError
        } catch let error as MartletError where error.code == .unavailable || error.code == .notFound {
            status.lastError = ApplicationStatus.Failure(
                message: "its host \(host) does not answer: \(error.message)",
                at: Date()
            )
        }
        return status
    }

    package func versions(of app: ApplicationID) async throws -> [VersionStatus] {
        let state = try await state(of: app)
        return state.versions.map {
            VersionStatus(
                id: $0.id,
                app: app,
                createdAt: $0.createdAt,
                artifactBytes: $0.artifactBytes,
                isCurrent: $0.id == state.version
            )
        }
    }

    package func delete(_ app: ApplicationID) async throws {
        let owner = try await state(of: app).owner
        let operation = UUID().uuidString
        _ = try await asked("delete \(app)", app: app) {
            try await handle(of: app).update(
                ApplicationWorkflow.delete,
                input: DeleteRequest(operation: operation),
                id: operation
            )
        }
        if let owner { try await release(app, of: owner) }
    }

    package func environment(of app: ApplicationID) async throws -> [EnvironmentVariable] {
        try await state(of: app).environment.map { variable in
            EnvironmentVariable(
                name: variable.name,
                value: variable.isSecret ? nil : try secret.open(variable, app: app),
                isSecret: variable.isSecret
            )
        }
    }

    package func setEnvironment(_ variables: [EnvironmentVariable], of app: ApplicationID) async throws {
        let sealed = try variables.map { variable in
            try variable.validate()
            return try secret.seal(
                variable.value ?? "",
                app: app,
                name: variable.name,
                isSecret: variable.isSecret
            )
        }
        try await configure(app, set: sealed, removed: [])
    }

    package func unsetEnvironment(_ names: [String], of app: ApplicationID) async throws {
        try await configure(app, set: [], removed: names)
    }

    package func logs(
        of app: ApplicationID,
        since: Date?,
        follow: Bool
    ) async throws -> AsyncThrowingStream<LogRecord, any Error> {
        // Errors that are known before the first record are thrown here.
        _ = try await state(of: app)
        return AsyncThrowingStream(bufferingPolicy: .bufferingOldest(4096)) { continuation in
            // A stream has no other way to do work of its own; it ends with the reader.
            let task = Task {
                do {
                    try await self.copyLogs(of: app, since: since, follow: follow, to: continuation)
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    // MARK: - Parts

    /// Passes an app's log on; while it is followed, across moves.
    private func copyLogs(
        of app: ApplicationID,
        since: Date?,
        follow: Bool,
        to continuation: AsyncThrowingStream<LogRecord, any Error>.Continuation
    ) async throws {
        let last = Mutex(since)
        while true {
            guard let host = try await state(of: app).placement?.host.id else {
                throw MartletError(.unavailable, "\(app) is on no host now; try again in a moment")
            }
            do {
                let from = last.withLock { $0 }
                try await api(of: host).logs(of: app, since: from, follow: follow) { record in
                    continuation.yield(record)
                    // The next host's log begins behind it.
                    last.withLock { $0 = record.time.addingTimeInterval(0.001) }
                }
                guard follow else { return }
            } catch let error as MartletError where follow && error.code == .unavailable {
                // The host may be gone and the app soon elsewhere.
            }
            try await Task.sleep(for: .seconds(1))
        }
    }

    private func configure(_ app: ApplicationID, set: [SealedVariable], removed: [String]) async throws {
        let operation = UUID().uuidString
        _ = try await asked("configure \(app)", app: app) {
            try await handle(of: app).update(
                ApplicationWorkflow.configure,
                input: ConfigureRequest(operation: operation, set: set, removed: removed),
                id: operation
            )
        }
    }

    private func followed(
        _ operation: String,
        of app: ApplicationID,
        _ action: String,
        _ onEvent: @escaping @Sendable (DeploymentEvent) async -> Void,
        _ answer: @escaping @Sendable () async throws -> OperationResult
    ) async throws -> OperationResult {
        try await asked(action, app: app) {
            let told = Mutex(DeploymentEvents())
            let result = try await follow(operation, of: app, answer) { record in
                for event in told.withLock({ $0.news(in: record) }) { await onEvent(event) }
            }
            for event in told.withLock({ $0.news(in: result.operation) }) { await onEvent(event) }
            return result
        }
    }

    private func deployment(
        _ app: ApplicationID,
        _ version: VersionID,
        _ result: OperationResult,
        since begin: ContinuousClock.Instant
    ) -> Deployment {
        let elapsed = (ContinuousClock.now - begin).components
        return Deployment(
            app: app,
            version: version,
            previousVersion: result.previousVersion,
            url: url(app),
            elapsedMilliseconds: Int(elapsed.seconds * 1000 + elapsed.attoseconds / 1_000_000_000_000_000),
            warnings: result.warnings
        )
    }
}
