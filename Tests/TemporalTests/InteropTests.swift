import Foundation
import Temporal
import TemporalTesting
import Testing

/// Fails with a cause of its own making, details and all.
actor Complaining: Workflow {
    let context: WorkflowContext

    init(context: WorkflowContext) { self.context = context }

    func run(_ reason: String) async throws -> String {
        do {
            return try await context.activity(Sample.fail, reason)
        } catch let error as ActivityFailure {
            throw ApplicationFailure(
                "gave up",
                type: "Outer",
                details: [["code": 7]],
                nonRetryable: true,
                cause: error
            )
        }
    }
}

/// Has Python do the work: one activity that works, and one that refuses.
private actor Delegating: Workflow {
    static var name: String { "Delegating" }
    let context: WorkflowContext

    init(context: WorkflowContext) { self.context = context }

    func run(_ name: String) async throws -> [String] {
        let options = ActivityOptions(
            startToClose: .seconds(30),
            retryPolicy: RetryPolicy(maximumAttempts: 1),
            taskQueue: "python"
        )
        let greeting = try await context.activity(
            name: "greet",
            arguments: [name],
            options: options,
            as: String.self
        )
        let beats = try await context.activity(
            name: "beat",
            arguments: [5],
            options: options,
            as: String.self
        )
        do {
            return [
                try await context.activity(
                    name: "refuse",
                    arguments: ["no"],
                    options: options,
                    as: String.self
                )
            ]
        } catch let error as ActivityFailure {
            let refused = error.first(ApplicationFailure.self)
            let trace = refused?.stackTrace.contains("worker.py") == true ? "with a trace" : "without a trace"
            return [greeting, beats, refused?.type ?? "", error.rootCause.message, trace]
        }
    }
}

/// The same as Python's workflow of this name.
private actor Tour: Workflow {
    static var name: String { "Tour" }
    static let visit = SignalDefinition<String>("visit")
    let context: WorkflowContext
    private var names: [String] = []

    init(context: WorkflowContext) { self.context = context }

    static func register(_ handlers: inout WorkflowHandlers<Tour>) {
        handlers.signal(visit) { workflow, name in workflow.names.append(name) }
    }

    func run(_ count: Int) async throws -> String {
        let options = ActivityOptions(startToClose: .seconds(10))
        let first = try await context.activity(
            name: "greet",
            arguments: ["first"],
            options: options,
            as: String.self
        )
        try await context.sleep(for: .milliseconds(50))
        try await waitUntil { $0.names.count >= count }
        let tasks = names.map { name in
            context.task { [context] in
                try await context.activity(
                    name: "greet",
                    arguments: [name],
                    options: options,
                    as: String.self
                )
            }
        }
        var all = [first]
        for task in tasks { all.append(try await task.value) }
        return all.joined(separator: ", ")
    }
}

@Suite(.serialized) struct `Interoperation with Python` {
    @Test func `Python's client works with our workflows`() async throws {
        try await WorkerFixture.with(
            workflows: [Approval.self, Complaining.self],
            activities: Sample.activities
        ) { fixture in
            let server = fixture.server
            let python = try Program.find("python3", variable: "TEMPORAL_TEST_PYTHON", group: "test")
            let script = URL(filePath: #filePath).deletingLastPathComponent().appending(
                path: "Python/client.py"
            ).path
            let client = try Program(
                python,
                [script, "\(server.host):\(server.port)", fixture.taskQueue],
                folder: server.folder,
                name: "client"
            )
            try await eventually("Python's client has ended", within: .seconds(120)) { !client.isRunning }
            #expect(client.lastOutput.hasSuffix("all passed"), "\(client.lastOutput)")
        }
    }

    @Test func `a codec sees all that passes between clients and workers`() async throws {
        try await TestServer.with { server in
            let connection = server.connection()
            let converter = DataConverter(
                failures: FailureConverter(encodesAttributes: true),
                codecs: [MirrorCodec()]
            )
            let worker = Worker(
                connection: connection,
                taskQueue: "secret",
                workflows: [Approval.self, Complaining.self],
                activities: Sample.activities,
                converter: converter
            )
            let running = Task { try await worker.run() }
            defer { running.cancel() }
            let client = TemporalClient(connection: connection, converter: converter)
            let handle = try await client.start(
                Approval.self,
                input: "Ada",
                options: .init(id: "a", taskQueue: "secret", memo: Memo(["m": "memo"]), summary: "summary")
            )
            #expect(try await handle.query(Approval.phase) == "waiting")
            #expect(try await handle.update(Approval.rename, input: "Bo") == "Ada")
            try await handle.signal(Approval.approve, input: true)
            #expect(try await handle.result() == "Hello Hello Bo, Hello all")
            let description = try await handle.describe()
            #expect(try description.info.memo.decode("m", as: String.self) == "memo")
            #expect(description.summary == "summary")
            let failing = try await client.start(
                Complaining.self,
                input: "loud",
                options: .init(id: "c", taskQueue: "secret")
            )
            let error = try await #require(throws: WorkflowFailedError.self) { try await failing.result() }
            #expect(error.cause.message == "gave up")
            #expect(error.cause.first(ApplicationFailure.self)?.details.count == 1)
            #expect(error.cause.rootCause.message == "loud")
            for id in ["a", "c"] {
                let history = try await client.handle(id: id).history().json()
                let text = String(decoding: history, as: UTF8.self)
                for word in ["Ada", "Bo", "memo", "summary", "loud"] {
                    let payload = Data("\"\(word)\"".utf8).base64EncodedString()
                    #expect(!text.contains(payload), "\(word)")
                }
                for word in ["gave up", "too loud"] { #expect(!text.contains(word)) }
            }
            running.cancel()
            _ = await running.result
            await connection.close()
        }
    }

    @Test func `Python runs activities for our workflows`() async throws {
        try await withPythonWorker { client, _ in
            let worker = Worker(
                connection: client.connection,
                taskQueue: "swift",
                workflows: [Delegating.self]
            )
            let running = Task { try await worker.run() }
            defer { running.cancel() }
            let result = try await client.execute(
                Delegating.self,
                input: "Ada",
                options: .init(id: "delegate", taskQueue: "swift")
            )
            #expect(result == ["Hello, Ada!", "5 beats", "Refused", "the root", "with a trace"])
            running.cancel()
            _ = await running.result
        }
    }

    @Test func `a workflow that Python began is taken over by ours, and replays`() async throws {
        try await withPythonWorker { client, queue in
            let handle = try await client.start(
                Tour.self,
                input: 2,
                options: .init(id: "tour", taskQueue: queue)
            )
            try await handle.signal(Tour.visit, input: "Bo")
            try await handle.signal(Tour.visit, input: "Cy")
            let result = try await handle.result()
            #expect(result == "Hello, first!, Hello, Bo!, Hello, Cy!")
            let history = try await handle.history()
            let replayer = WorkflowReplayer(workflows: [Tour.self])
            try await replayer.replay(history)
        }
    }

    @Test func `the command line shows our workflows`() async throws {
        try await WorkerFixture.with(workflows: [Approval.self], activities: Sample.activities) { fixture in
            let handle = try await fixture.client.start(
                Approval.self,
                input: "Ada",
                options: fixture.options("shown")
            )
            #expect(try await handle.query(Approval.phase) == "waiting")
            let stack = try await handle.query("__stack_trace", as: String.self)
            #expect(stack.contains("swift"), "\(stack)")
            try await handle.signal(Approval.approve, input: true)
            _ = try await handle.result()

            let temporal = try Program.find("temporal", variable: "TEMPORAL_PROGRAM", group: "run")
            let address = "\(fixture.server.host):\(fixture.server.port)"
            for (command, expected) in [
                ("describe", ["COMPLETED", "Approval", "Hello Ada, Hello all"]),
                ("show", ["ActivityTaskScheduled", "TimerFired", "WorkflowExecutionCompleted"]),
            ] {
                let run = try Program(
                    temporal,
                    ["workflow", command, "--workflow-id", "shown", "--address", address],
                    folder: fixture.server.folder,
                    name: command
                )
                try await eventually("temporal workflow \(command) has ended") { !run.isRunning }
                let text = try String(contentsOf: run.log, encoding: .utf8)
                for part in expected { #expect(text.contains(part), "\(command): \(text)") }
            }
        }
    }
}
