import Foundation
import Temporal
import TemporalTesting

/// Runs the body beside a worker of the official Python SDK, on a server of its own.
func withPythonWorker<Result>(
    _ options: TestServer.Options = .init(),
    converter: DataConverter = DataConverter(),
    _ body: (TemporalClient, String) async throws -> Result
) async throws -> Result {
    try await TestServer.with(options) { server in
        let taskQueue = "python"
        let python = try Program.find("python3", variable: "TEMPORAL_TEST_PYTHON", group: "test")
        let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Python/worker.py")
            .path
        let worker = try Program(
            python,
            [script, "\(server.host):\(server.port)", taskQueue],
            folder: server.folder,
            name: "python"
        )
        let connection = server.connection()
        do {
            let result = try await body(
                TemporalClient(connection: connection, converter: converter),
                taskQueue
            )
            await connection.close()
            await worker.stop()
            return result
        } catch {
            await connection.close()
            await worker.stop()
            print(worker.lastOutput)
            throw error
        }
    }
}

/// Waits until a condition holds; tests that use it say what they wait for.
func eventually(
    _ what: String,
    within limit: Duration = .seconds(60),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw Timeout(what: what) }
        try await Task.sleep(for: .milliseconds(50))
    }
}

struct Timeout: Error, CustomStringConvertible {
    var what: String
    var description: String { "it did not happen in time: \(what)" }
}
