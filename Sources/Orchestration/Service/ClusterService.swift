package import ClusterContract
package import Control
import ControlClient
import Foundation
package import Storage
package import Temporal

/// Apps and hosts of a cluster for the API: calls become updates and queries of workflows; what only the host of an app
/// knows comes from that host's own API.
package struct ClusterService: Sendable {
    let client: TemporalClient
    let store: any ObjectStore
    let secret: ClusterSecret
    let timing: ApplicationTiming
    /// Where an app answers.
    let url: @Sendable (ApplicationID) -> String

    package init(
        client: TemporalClient,
        store: any ObjectStore,
        secret: ClusterSecret,
        timing: ApplicationTiming = ApplicationTiming(),
        url: @escaping @Sendable (ApplicationID) -> String
    ) {
        self.client = client
        self.store = store
        self.secret = secret
        self.timing = timing
        self.url = url
    }

    var slicer: WorkflowHandle<Nothing> { client.handle(id: ClusterNames.slicer) }

    func handle(of app: ApplicationID) -> WorkflowHandle<Nothing> {
        client.handle(for: ApplicationWorkflow.self, id: ClusterNames.workflow(of: app))
    }

    private var server: String {
        "\(client.connection.configuration.host):\(client.connection.configuration.port)"
    }

    /// What an app's workflow knows.
    ///
    /// - Throws: ``MartletError`` with code `not_found`.
    func state(of app: ApplicationID) async throws -> ApplicationMemory {
        let state = try await asked("look \(app) up", app: app) {
            try await handle(of: app).query(ApplicationWorkflow.state)
        }
        guard state.version != nil, !state.isDeleted else { throw Self.unknown(app) }
        return state
    }

    /// The API of the host that an app is on.
    func api(of host: HostID) async throws -> APIClient {
        let hosts = try await hosts()
        guard let host = hosts.first(where: { $0.id == host }) else {
            throw MartletError(.unavailable, "the host \(host) is not known to the slicer")
        }
        return APIClient(endpoint: try Endpoint(validating: host.api), token: try secret.apiToken)
    }

    /// Runs a call of Temporal and tells its errors as ours.
    func asked<Answer: Sendable>(
        _ action: String,
        app: ApplicationID? = nil,
        _ body: @Sendable () async throws -> Answer
    ) async throws -> Answer {
        do {
            return try await body()
        } catch let error as MartletError {
            throw error
        } catch let error as UpdateFailedError {
            throw OrderFailure.error(from: error.cause, while: action)
        } catch let error as WorkflowNotFoundError {
            if let app { throw Self.unknown(app) }
            throw MartletError(
                .unavailable,
                "\(action): the cluster has not begun; is control running?",
                cause: error
            )
        } catch let error as QueryFailedError {
            let cause = error.cause.map { OrderFailure.error(from: $0, while: action) }
            throw cause ?? MartletError(.unavailable, "\(action): \(error.message)", cause: error)
        } catch let error as RPCError {
            throw MartletError(
                .unavailable,
                "\(action): Temporal at \(server) did not answer (\(error.message)); "
                    + "apps go on as they are, but nothing can be changed until it does",
                cause: error
            )
        } catch is CancellationError {
            throw MartletError(.cancelled, "\(action): cancelled")
        } catch {
            throw MartletError(.internal, "\(action): \(error)", cause: error)
        }
    }

    static func unknown(_ app: ApplicationID) -> MartletError {
        MartletError(.notFound, "there is no app named \(app); `martlet apps` lists those that there are")
    }

    /// Follows an operation until the update that carries it has its answer.
    ///
    /// `onChange`: called with each state that differs from the one before.
    func follow<Answer: Sendable>(
        _ operation: String,
        of app: ApplicationID,
        _ answer: @escaping @Sendable () async throws -> Answer,
        onChange: @escaping @Sendable (OperationRecord) async -> Void
    ) async throws -> Answer {
        let handle = handle(of: app)
        return try await withThrowingTaskGroup(of: Answer?.self) { group in
            group.addTask { try await answer() }
            group.addTask {
                var last: OperationRecord?
                var pause = Duration.milliseconds(30)
                while true {
                    try await Task.sleep(for: pause)
                    pause = min(pause * 2, .milliseconds(200))
                    // A look that fails is made again; the answer tells how it ends.
                    let found = try? await handle.query(ApplicationWorkflow.operation, input: operation)
                    guard let record = found ?? nil, record != last else { continue }
                    last = record
                    await onChange(record)
                    if record.state != .running { return nil }
                }
            }
            defer { group.cancelAll() }
            while let value = try await group.next() { if let value { return value } }
            throw CancellationError()
        }
    }
}
