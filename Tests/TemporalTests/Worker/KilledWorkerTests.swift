import Foundation
import SwiftProtobuf
import Temporal
import TemporalAPI
import TemporalTesting
import Testing

/// The workflow of TemporalTestWorker.
private enum Journey: WorkflowDefinition {
    typealias Input = String
    typealias Output = String
    static let go = SignalDefinition<String>("go")
}

private let isSoak = ProcessInfo.processInfo.environment["MARTLET_SOAK"] == "1"

@Suite struct `Killed workers` {
    /// Walks through the positions of the history; all of them in `make soak`.
    @Test func `a worker killed after any event loses nothing`() async throws {
        try await TestServer.with { server in
            let connection = server.connection()
            let client = TemporalClient(connection: connection)
            let positions = isSoak ? Array(1...32) : [1, 5, 9, 14, 20, 26]
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (index, position) in positions.enumerated() {
                    if index >= 3 { try await group.next() }
                    group.addTask { try await killed(after: position, server, client) }
                }
                try await group.waitForAll()
            }
            await connection.close()
        }
    }

    @Test func `an activity of a lost worker runs elsewhere, from where it was`() async throws {
        try await TestServer.with { server in
            let connection = server.connection()
            let client = TemporalClient(connection: connection)
            let queue = "queue-\(UUID().uuidString)"
            let first = try workerProcess(server, queue)
            let handle = try await client.start(Journey.self, input: "fragile", options: quick(queue))
            try await eventually {
                let request = APIDescribeWorkflowExecutionRequest.with {
                    $0.namespace = "default"
                    $0.execution.workflowID = handle.workflowID
                }
                let description: APIDescribeWorkflowExecutionResponse = try await connection.call(
                    "DescribeWorkflowExecution",
                    request
                )
                return description.pendingActivities.contains { $0.hasHeartbeatDetails }
            }
            kill(first.processIdentifier, SIGKILL)
            first.waitUntilExit()
            let second = try workerProcess(server, queue)
            defer { kill(second.processIdentifier, SIGKILL) }
            // An attempt may still have gone to the worker that was killed.
            let result = try await handle.result()
            #expect(result.hasSuffix("after first") && !result.hasPrefix("attempt 1 "), "\(result)")
            await connection.close()
        }
    }
}

private func killed(after position: Int, _ server: TestServer, _ client: TemporalClient) async throws {
    let queue = "queue-\(UUID().uuidString)"
    var process = try workerProcess(server, queue)
    defer { kill(process.processIdentifier, SIGKILL) }
    let handle = try await client.start(Journey.self, input: "start", options: quick(queue))
    try await handle.signal(Journey.go, input: "go")
    var wasKilled = false
    try await eventually(within: .seconds(90)) {
        let events = try await handle.history().events
        if !wasKilled, events.count >= position {
            wasKilled = true
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            process = try workerProcess(server, queue)
        }
        return events.last?.eventType == .workflowExecutionCompleted
    }
    #expect(wasKilled, "position \(position)")
    #expect(try await handle.result() == "start go child local last", "position \(position)")
}

private func quick(_ queue: String) -> StartWorkflowOptions {
    StartWorkflowOptions(id: UUID().uuidString, taskQueue: queue, taskTimeout: .seconds(2))
}

/// Starts TemporalTestWorker, which lies beside the tests.
private func workerProcess(_ server: TestServer, _ queue: String) throws -> Process {
    let process = Process()
    let bundle = ProcessInfo.processInfo.arguments.first { $0.contains(".xctest") } ?? ""
    var folder = URL(filePath: bundle)
    while folder.path.contains(".xctest") { folder.deleteLastPathComponent() }
    process.executableURL = folder.appending(path: "TemporalTestWorker")
    process.arguments = ["127.0.0.1:\(server.port)", queue, UUID().uuidString]
    process.environment = ["PATH": "/usr/bin:/bin"]
    try process.run()
    return process
}
