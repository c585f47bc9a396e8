public import Control
public import Foundation
import Proxy
import Synchronization

extension HostDaemon {
    public func applications() async throws -> [ApplicationStatus] {
        let proven = await databases?.proven() ?? [:]
        return entries.values.sorted { $0.record.id < $1.record.id }.map {
            status($0, provenAt: proven[$0.record.id])
        }
    }

    public func application(_ app: ApplicationID) async throws -> ApplicationStatus {
        let provenAt = await databases?.proven(app)
        return status(try entry(app), provenAt: provenAt)
    }

    public func versions(of app: ApplicationID) async throws -> [VersionStatus] {
        let current = try entry(app).record.version
        return try await store.versions(of: app).map {
            VersionStatus(
                id: $0.id,
                app: app,
                createdAt: $0.createdAt,
                artifactBytes: $0.artifactBytes,
                isCurrent: $0.id == current
            )
        }
    }

    public func environment(of app: ApplicationID) async throws -> [EnvironmentVariable] {
        _ = try entry(app)
        return try await store.environment(of: app).map {
            EnvironmentVariable(
                name: $0.name,
                value: $0.isSecret ? nil : String(decoding: $0.value, as: UTF8.self),
                isSecret: $0.isSecret
            )
        }
    }

    public func setEnvironment(_ variables: [EnvironmentVariable], of app: ApplicationID) async throws {
        let entry = try entry(app)
        let stored = try variables.map { variable in
            try variable.validate()
            guard let value = variable.value else {
                throw MartletError(.badRequest, "\(variable.name) has no value")
            }
            return StateStore.Variable(
                name: variable.name,
                value: variable.isSecret
                    ? try secrets.seal(value, app: app.rawValue, name: variable.name) : Data(value.utf8),
                isSecret: variable.isSecret
            )
        }
        do {
            try await store.set(stored, of: app)
            try await keepRecord(of: app)
        } catch { throw MartletError(error, while: "set variables of \(app)") }
        handle(.forgive, entry)
    }

    public func unsetEnvironment(_ names: [String], of app: ApplicationID) async throws {
        let entry = try entry(app)
        do {
            try await store.unset(names, of: app)
            try await keepRecord(of: app)
        } catch { throw MartletError(error, while: "unset variables of \(app)") }
        handle(.forgive, entry)
    }

    public func logs(
        of app: ApplicationID,
        since: Date?,
        follow: Bool
    ) async throws -> AsyncThrowingStream<LogRecord, any Error> {
        _ = try entry(app)
        let log = logs.log(of: app)
        if follow { return log.follow(since: since, tail: 200) }
        let (stream, continuation) = AsyncThrowingStream<LogRecord, any Error>.makeStream()
        for record in log.records(since: since, tail: 1000) { continuation.yield(record) }
        continuation.finish()
        return stream
    }

    private func status(_ entry: Entry, provenAt: Date?) -> ApplicationStatus {
        let record = entry.record
        let instances = entry.awake.map { Array($0.instances.values) } ?? []
        let last = entry.cell.lastActivity.load(ordering: .relaxed)
        let active = instances.reduce(0) {
            $0 + $1.counted.activity.runningRequests + $1.counted.activity.openTunnels
        }
        var lastRequestAt: Date?
        if last > 0, entry.cell.requests.load(ordering: .relaxed) > 0 {
            lastRequestAt = Date(timeIntervalSinceNow: -(uptime() - .nanoseconds(Int64(last))).inSeconds)
        }
        var status = ApplicationStatus(
            id: record.id,
            owner: record.owner,
            state: state(entry),
            version: record.version,
            url: url(of: record.id),
            host: configuration.host,
            createdAt: record.createdAt,
            deployedAt: record.deployedAt,
            lastRequestAt: lastRequestAt,
            requests: entry.cell.requests.load(ordering: .relaxed),
            activeRequests: active,
            sleepAfterSeconds: sleepAfter(record)?.inSeconds,
            memoryBytes: instances.isEmpty
                ? nil : instances.compactMap { $0.worker.group.memoryBytes() }.reduce(0, +),
            lastError: entry.lastFailure,
            cron: cronStatus(entry)
        )
        status.provenAt = provenAt
        return status
    }

    func state(_ entry: Entry) -> ApplicationState {
        if entry.record.version == nil { return .deploying }
        return switch entry.machine.state {
        case .asleep, .closed: .asleep
        case .queued, .starting, .thawing: .starting
        case .serving, .quieting: .running
        case .frozen: .frozen
        case .stopping, .suspended: .stopping
        case .backingOff: .failed
        }
    }
}
