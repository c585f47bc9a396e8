import Foundation
import Logging
import Temporal
import TemporalTesting

/// A server with a worker and a client, removed at the end.
struct WorkerFixture {
    let server: TestServer
    let client: TemporalClient
    let connection: TemporalConnection
    let taskQueue: String

    static func with<Result>(
        workflows: [any Workflow.Type] = [],
        activities: [ActivityRegistration] = [],
        options: WorkerOptions = WorkerOptions(),
        server: TestServer.Options = .init(),
        _ body: (WorkerFixture) async throws -> Result
    ) async throws -> Result {
        try await TestServer.with(server) { server in
            let connection = server.connection()
            let fixture = WorkerFixture(
                server: server,
                client: TemporalClient(connection: connection),
                connection: connection,
                taskQueue: "queue-\(UUID().uuidString.prefix(8))"
            )
            let worker = fixture.worker(workflows: workflows, activities: activities, options: options)
            let running = Task { try await worker.run() }
            do {
                let result = try await body(fixture)
                running.cancel()
                try? await running.value
                await connection.close()
                return result
            } catch {
                running.cancel()
                try? await running.value
                await connection.close()
                throw error
            }
        }
    }

    func worker(
        workflows: [any Workflow.Type] = [],
        activities: [ActivityRegistration] = [],
        options: WorkerOptions = WorkerOptions(),
        connection: TemporalConnection? = nil
    ) -> Worker {
        var logger = Logger(label: "worker")
        logger.logLevel = ProcessInfo.processInfo.environment["MARTLET_LOG"] == nil ? .critical : .debug
        return Worker(
            connection: connection ?? self.connection,
            taskQueue: taskQueue,
            workflows: workflows,
            activities: activities,
            options: options,
            logger: logger
        )
    }

    func options(_ id: String = UUID().uuidString) -> StartWorkflowOptions {
        StartWorkflowOptions(id: id, taskQueue: taskQueue)
    }
}

/// Waits until something holds.
func eventually(
    within limit: Duration = .seconds(60),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(20))
    }
    throw EventuallyError()
}

struct EventuallyError: Error {}
