import Control
import Foundation
import Synchronization

/// An application service that records what it is asked and answers from memory.
final class RecordingService: ApplicationService {
    struct State {
        var calls: [String] = []
        var apps: [ApplicationID: ApplicationStatus] = [:]
        var environment: [EnvironmentVariable] = []
        var uploads: [Data] = []
        var deployError: MartletError?
    }

    let state = Mutex(State())
    /// What deployments wait for, where a test wants one to be running.
    let gate: Gate?

    init(gate: Gate? = nil) { self.gate = gate }

    var calls: [String] { state.withLock { $0.calls } }

    func add(_ app: ApplicationID) {
        state.withLock { state in
            state.apps[app] = ApplicationStatus(
                id: app,
                owner: .local,
                state: .asleep,
                version: nil,
                url: "http://\(app).localhost/",
                host: nil,
                createdAt: Date(timeIntervalSince1970: 1_700_000_000.25)
            )
        }
    }

    private func record(_ call: String) { state.withLock { $0.calls.append(call) } }

    private func require(_ app: ApplicationID) throws -> ApplicationStatus {
        guard let status = state.withLock({ $0.apps[app] }) else {
            throw MartletError(.notFound, "there is no app named \(app)")
        }
        return status
    }

    static func version(_ digit: Character) throws -> VersionID {
        try VersionID(validating: String(repeating: digit, count: 64))
    }

    func deploy(
        _ upload: Upload,
        onEvent: @escaping @Sendable (DeploymentEvent) async -> Void
    ) async throws -> Deployment {
        record("deploy \(upload.name?.rawValue ?? "-") for \(upload.owner)")
        let data = try Data(contentsOf: upload.archive)
        state.withLock { $0.uploads.append(data) }
        await onEvent(DeploymentEvent(.unpack, .started))
        await onEvent(DeploymentEvent(.unpack, .finished, message: "1 file", elapsedMilliseconds: 3))
        if let gate { await gate.wait() }
        if let error = state.withLock({ $0.deployError }) { throw error }
        let app = try upload.name ?? ApplicationID(validating: "unnamed")
        return Deployment(
            app: app,
            version: try Self.version("a"),
            previousVersion: nil,
            url: "http://\(app).localhost/",
            elapsedMilliseconds: 5
        )
    }

    func rollback(
        _ app: ApplicationID,
        to version: VersionID?,
        onEvent: @escaping @Sendable (DeploymentEvent) async -> Void
    ) async throws -> Deployment {
        record("rollback \(app) to \(version?.short ?? "-")")
        await onEvent(DeploymentEvent(.start, .finished))
        return Deployment(
            app: app,
            version: try version ?? Self.version("b"),
            previousVersion: try Self.version("a"),
            url: "u",
            elapsedMilliseconds: 1
        )
    }

    func applications() async throws -> [ApplicationStatus] {
        state.withLock { $0.apps.values.sorted { $0.id < $1.id } }
    }

    func application(_ app: ApplicationID) async throws -> ApplicationStatus { try require(app) }

    func versions(of app: ApplicationID) async throws -> [VersionStatus] {
        _ = try require(app)
        return try ["a", "b"].map { digit in
            VersionStatus(
                id: try Self.version(digit),
                app: app,
                createdAt: Date(timeIntervalSince1970: 0),
                artifactBytes: 10,
                isCurrent: digit == "a"
            )
        }
    }

    func delete(_ app: ApplicationID) async throws {
        _ = try require(app)
        record("delete \(app)")
        state.withLock { $0.apps[app] = nil }
    }

    func environment(of app: ApplicationID) async throws -> [EnvironmentVariable] {
        state.withLock { $0.environment }
    }

    func setEnvironment(_ variables: [EnvironmentVariable], of app: ApplicationID) async throws {
        record("set \(variables.map(\.name))")
        state.withLock { $0.environment += variables }
    }

    func unsetEnvironment(_ names: [String], of app: ApplicationID) async throws { record("unset \(names)") }

    func logs(
        of app: ApplicationID,
        since: Date?,
        follow: Bool
    ) async throws -> AsyncThrowingStream<LogRecord, any Error> {
        _ = try require(app)
        record("logs since \(since?.timeIntervalSince1970 ?? -1) follow \(follow)")
        return AsyncThrowingStream { continuation in
            for number in 0..<3 {
                continuation.yield(
                    LogRecord(
                        time: Date(timeIntervalSince1970: Double(number)),
                        app: app,
                        version: nil,
                        requestID: "r\(number)",
                        stream: .stdout,
                        message: "line \(number)\nwith a break"
                    )
                )
            }
            if follow {
                continuation.onTermination = { [weak self] _ in self?.record("log reader gone") }
            } else {
                continuation.finish()
            }
        }
    }
}

/// Holds callers until it is opened.
final class Gate: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }

    func open() { continuation.finish() }

    func wait() async {
        for await _ in stream {}
    }
}
