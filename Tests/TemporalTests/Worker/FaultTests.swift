import Foundation
import Temporal
import TemporalAPI
import TemporalTesting
import Testing

private let isSoak = ProcessInfo.processInfo.environment["MARTLET_SOAK"] == "1"
private let workflows: [any Workflow.Type] = [
    Approval.self, LongHistory.self, Counting.self, Attributed.self,
]

/// Waits for an activity that somebody else completes, and tells in search attributes how far it is.
private actor Attributed: Workflow {
    static let city = SearchAttributeKey<String>("City")
    static let later = ActivityDefinition<String, String>("later")
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ name: String) async throws -> String {
        try context.upsertSearchAttributes(SearchAttributes().with(Self.city, name))
        return try await context.activity(
            Self.later,
            name,
            options: ActivityOptions(activityID: "later")
        )
    }
}

@Suite struct `Worker faults` {
    @Test func `a server that is killed and started again under load loses no workflow`() async throws {
        try await WorkerFixture.with(
            workflows: workflows,
            activities: Sample.activities,
            server: .init(isDurable: true)
        ) { fixture in
            let handles = try await begin(20, fixture)
            let signals = Task { try await finish(handles) }
            await fixture.server.kill()
            try await fixture.server.launch()
            #expect(try await signals.value == expected(20))
        }
    }

    @Test func `a connection that is cut for ten seconds loses no workflow`() async throws {
        try await TestServer.with { server in
            try await Relay.with(to: server.port) { relay, port in
                let connection = TemporalConnection(.init(host: "127.0.0.1", port: port))
                let fixture = WorkerFixture(
                    server: server,
                    client: TemporalClient(connection: connection),
                    connection: connection,
                    taskQueue: "cut"
                )
                let worker = fixture.worker(workflows: workflows, activities: Sample.activities)
                let running = Task { try await worker.run() }
                defer { running.cancel() }
                let handles = try await begin(20, fixture)
                await relay.cut()
                let signals = Task { try await finish(handles) }
                try await Task.sleep(for: .seconds(10))
                await relay.mend()
                #expect(try await signals.value == expected(20))
                running.cancel()
                _ = await running.result
                await connection.close()
            }
        }
    }

    /// 2,000 in `make soak`.
    @Test func `many workflows at once, more than the cache holds`() async throws {
        let count = isSoak ? 2000 : 200
        var options = WorkerOptions()
        options.stickyWorkflowCacheSize = count / 2
        try await WorkerFixture.with(
            workflows: workflows,
            activities: Sample.activities,
            options: options
        ) { fixture in
            let handles = try await begin(count, fixture)
            #expect(try await finish(handles) == expected(count))
        }
    }

    @Test(.enabled(if: isSoak)) func `a history of 10,000 events is replayed to answer a query`() async throws
    {
        try await WorkerFixture.with(workflows: workflows, activities: Sample.activities) { fixture in
            let count = 1_700
            let handle = try await fixture.client.start(
                LongHistory.self,
                input: count,
                options: fixture.options()
            )
            #expect(try await handle.result() == count * (count - 1) / 2)
            // The worker forgets a workflow that has ended, so this needs all of its history, in several pages.
            #expect(try await handle.query("__stack_trace", as: String.self).contains("ended"))
            let history = try await handle.history()
            #expect(history.events.count > 10_000)
            try await WorkflowReplayer(workflows: workflows).replay(history)
        }
    }

    @Test func `activities completed from elsewhere, search attributes, and what the CLI says`() async throws
    {
        let later = ActivityRegistration(Attributed.later) { context, _ in try context.completeLater() }
        try await WorkerFixture.with(
            workflows: workflows,
            activities: [later],
            server: .init(searchAttributes: ["City": "Keyword"])
        ) { fixture in
            let handle = try await fixture.client.start(
                Attributed.self,
                input: "Bern",
                options: fixture.options("attributed")
            )
            try await eventually {
                try await handle.describe().info.searchAttributes[Attributed.city] == "Bern"
            }
            let program = try Program(
                try Program.find("temporal", variable: "TEMPORAL_PROGRAM", group: "run"),
                [
                    "workflow", "stack", "--workflow-id", "attributed", "--address",
                    "127.0.0.1:\(fixture.server.port)",
                ],
                folder: fixture.server.folder,
                name: "stack"
            )
            try await eventually { !program.isRunning }
            #expect(program.lastOutput.contains("later"), "\(program.lastOutput)")
            let activity = fixture.client.activity(
                .id(workflowID: "attributed", runID: nil, activityID: "later")
            )
            // The server takes an answer only after the activity has begun.
            try await eventually {
                do { try await activity.complete("from elsewhere") } catch is RPCError { return false }
                return true
            }
            #expect(try await handle.result() == "from elsewhere")
        }
    }

    @Test func `input that cannot be read harms nobody else`() async throws {
        try await WorkerFixture.with(workflows: workflows, activities: Sample.activities) { fixture in
            let poisoned = try await fixture.client.start(
                "Counting",
                arguments: ["not a number"],
                options: fixture.options(),
                output: Int.self
            )
            var message = ""
            try await eventually {
                for event in try await poisoned.history().events {
                    switch event.eventType {
                    case .workflowTaskFailed:
                        message = event.workflowTaskFailedEventAttributes.failure.message
                    case .workflowExecutionFailed:
                        message = event.workflowExecutionFailedEventAttributes.failure.message
                    default: break
                    }
                }
                return !message.isEmpty
            }
            #expect(message.contains("Int"), "\(message)")
            let healthy = try await fixture.client.start(Counting.self, input: 2, options: fixture.options())
            #expect(try await healthy.result() == 3)
        }
    }
}

private func begin(_ count: Int, _ fixture: WorkerFixture) async throws -> [WorkflowHandle<String>] {
    try await eachAtOnce(0..<count) { index in
        try await fixture.client.start(Approval.self, input: "\(index)", options: fixture.options())
    }
}

/// Approves all, and gives the results.
///
/// A fault may take longer than a call is tried again for.
private func finish(_ handles: [WorkflowHandle<String>]) async throws -> Set<String> {
    Set(
        try await eachAtOnce(handles) { handle in
            try await eventually(within: .seconds(120)) {
                do { try await handle.signal(Approval.approve, input: true) } catch is RPCError {
                    return false
                }
                return true
            }
            return try await handle.result()
        }
    )
}

private func expected(_ count: Int) -> Set<String> { Set((0..<count).map { "Hello \($0), Hello all" }) }

/// Runs `body` for each item, for up to 200 at once: more than a connection has streams, no more than a busy server can
/// answer in time.
private func eachAtOnce<Item: Sendable, Result: Sendable>(
    _ items: some Sequence<Item>,
    _ body: @escaping @Sendable (Item) async throws -> Result
) async throws -> [Result] {
    try await withThrowingTaskGroup(of: Result.self) { group in
        var results: [Result] = []
        for (index, item) in items.enumerated() {
            if index >= 200, let result = try await group.next() { results.append(result) }
            group.addTask { try await body(item) }
        }
        for try await result in group { results.append(result) }
        return results
    }
}
