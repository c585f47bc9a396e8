import Foundation
import Synchronization
import Temporal
import TemporalAPI
import TemporalTesting
import Testing

private let stamp = ActivityDefinition<Int, Int>("stamp")
private let beating = ActivityDefinition<Int, String>("beating")

/// Starts many activities at once.
private actor Burst: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ count: Int) async throws -> Int {
        let context = context
        return try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<count { group.addTask { try await context.activity(stamp, index) } }
            var sum = 0
            for try await index in group { sum += index }
            return sum
        }
    }
}

/// Runs a local activity that takes longer than a workflow task may.
private actor Locally: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ milliseconds: Int) async throws -> String {
        let options = LocalActivityOptions(startToClose: .seconds(60))
        return try await context.localActivity(beating, milliseconds, options: options)
    }
}

/// Continues as new while a handler runs, until it is mended.
private actor Handover: Workflow {
    static let work = SignalDefinition<Nothing>("work")
    static let finish = SignalDefinition<Nothing>("finish")
    static let isMended = Flag()
    let context: WorkflowContext
    private var isWorking = false
    private var isFinished = false
    init(context: WorkflowContext) { self.context = context }

    static func register(_ handlers: inout WorkflowHandlers<Handover>) {
        handlers.signal(work) { handover, _ in
            handover.isWorking = true
            try await handover.waitUntil { $0.isFinished }
        }
        handlers.signal(finish) { handover, _ in handover.isFinished = true }
    }

    func run(_ count: Int) async throws -> String {
        if count > 0 { return "continued" }
        try await waitUntil { $0.isWorking }
        if Self.isMended.value { try await context.allHandlersFinished() }
        try context.continueAsNew(count + 1)
    }
}

/// Asks for the cancellation of another workflow.
private actor Canceller: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ id: String) async throws -> String {
        do { try await context.workflow(id: id).cancel(reason: "enough") } catch let error
            as ApplicationFailure
        {
            return error.type
        }
        return "asked"
    }
}

/// Gives an activity input that it cannot read.
private actor Poisoner: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ input: Nothing) async throws -> String {
        let options = ActivityOptions(retryPolicy: RetryPolicy(maximumAttempts: 2))
        do {
            let number: Int = try await context.activity(
                name: "echo",
                arguments: ["not a number"],
                options: options
            )
            return "\(number)"
        } catch let error as ActivityFailure {
            return error.rootCause.message
        }
    }
}

@Suite struct `Worker limits` {
    /// A rate limit only ever delays, so a least time can be told on a machine however busy.
    @Test func `the rate at which a worker starts activities is limited`() async throws {
        let starts = Mutex<[ContinuousClock.Instant]>([])
        let activity = ActivityRegistration(stamp) { _, index in
            starts.withLock { $0.append(.now) }
            return index
        }
        var options = WorkerOptions()
        options.workerActivitiesPerSecond = 5
        try await WorkerFixture.with(workflows: [Burst.self], activities: [activity], options: options) {
            fixture in
            let handle = try await fixture.client.start(Burst.self, input: 8, options: fixture.options())
            #expect(try await handle.result() == 28)
            let all = starts.withLock { $0.sorted() }
            let took = try #require(all.first).duration(to: try #require(all.last))
            #expect(all.count == 8)
            // The first of the eight may start late.
            #expect(took > .milliseconds(1_000), "\(took)")
        }
    }

    /// An activity that was taken for handed out would be tried again only after a minute.
    @Test func `a worker without activities asks for none at once`() async throws {
        try await WorkerFixture.with(workflows: [Burst.self]) { fixture in
            let activity = ActivityRegistration(stamp) { context, index in index * context.info.attempt }
            let worker = fixture.worker(activities: [activity])
            let running = Task { try await worker.run() }
            let handle = try await fixture.client.start(Burst.self, input: 8, options: fixture.options())
            #expect(try await handle.result() == 28)
            running.cancel()
            _ = await running.result
        }
    }

    @Test func `a local activity may last longer than a workflow task, and beat`() async throws {
        let activity = ActivityRegistration(beating) { context, milliseconds in
            try context.heartbeat("alive")
            try await Task.sleep(for: .milliseconds(milliseconds))
            try context.heartbeat("still alive")
            return "local \(context.info.attempt)"
        }
        try await WorkerFixture.with(workflows: [Locally.self], activities: [activity]) { fixture in
            var start = fixture.options()
            start.taskTimeout = .seconds(3)
            let handle = try await fixture.client.start(Locally.self, input: 7_000, options: start)
            #expect(try await handle.result() == "local 1")
            let history = try await handle.history()
            let tasks = history.events.filter { $0.eventType == .workflowTaskCompleted }
            #expect(tasks.count >= 3, "the server was told that the task is still in hand")
            #expect(history.events.filter { $0.eventType == .markerRecorded }.count == 1)
            try await WorkflowReplayer(workflows: [Locally.self]).replay(history)
        }
    }

    @Test func `continuing as new is refused while a handler runs`() async throws {
        try await WorkerFixture.with(workflows: [Handover.self]) { fixture in
            var start = fixture.options()
            start.taskTimeout = .seconds(4)
            let handle = try await fixture.client.start(Handover.self, input: 0, options: start)
            try await handle.signal(Handover.work)
            var message = ""
            try await eventually {
                message =
                    try await handle.history().events.last { $0.eventType == .workflowTaskFailed }?
                    .workflowTaskFailedEventAttributes.failure.message ?? ""
                return !message.isEmpty
            }
            #expect(message.contains("handlers of signals or updates still run (1)"), "\(message)")
            Handover.isMended.set(true)
            try await handle.signal(Handover.finish)
            #expect(try await handle.result() == "continued")
        }
    }

    @Test func `a workflow cancels another one`() async throws {
        try await WorkerFixture.with(
            workflows: [Canceller.self, Cancellable.self],
            activities: Sample.activities
        ) { fixture in
            let other = try await fixture.client.start(
                Cancellable.self,
                input: "timer",
                options: fixture.options("other")
            )
            try await eventually {
                try await other.history().events.contains { $0.eventType == .timerStarted }
            }
            let results = try await [
                fixture.client.execute(Canceller.self, input: "other", options: fixture.options()),
                fixture.client.execute(Canceller.self, input: "nobody", options: fixture.options()),
            ]
            #expect(results == ["asked", "WorkflowNotFound"])
            let error = await #expect(throws: WorkflowFailedError.self) { _ = try await other.result() }
            #expect(error?.status == .canceled)
            let request = try await other.history().events.first {
                $0.eventType == .workflowExecutionCancelRequested
            }
            #expect(request?.workflowExecutionCancelRequestedEventAttributes.cause == "enough")
        }
    }

    @Test func `unreadable input fails the activity, and a signal is dropped`() async throws {
        try await WorkerFixture.with(
            workflows: [Poisoner.self, Approval.self],
            activities: Sample.activities
        ) { fixture in
            let message = try await fixture.client.execute(
                Poisoner.self,
                input: Nothing(),
                options: fixture.options()
            )
            #expect(message.contains("Int"), "\(message)")
            let handle = try await fixture.client.start(
                Approval.self,
                input: "Ada",
                options: fixture.options()
            )
            try await handle.signal("approve", arguments: ["not a truth"])
            try await handle.signal("nobody knows this one")
            #expect(try await handle.query(Approval.phase) == "waiting")
            try await handle.signal(Approval.approve, input: true)
            #expect(try await handle.result() == "Hello Ada, Hello all")
            try await WorkflowReplayer(workflows: [Approval.self]).replay(try await handle.history())
        }
    }

    @Test func `an update that no worker takes fails in time, and says why`() async throws {
        try await TestServer.with { server in
            let connection = server.connection()
            let client = TemporalClient(connection: connection)
            let options = StartWorkflowOptions(id: "lonely", taskQueue: "empty")
            let handle = try await client.start(Approval.self, input: "x", options: options)
            let error = await #expect(throws: RPCError.self) {
                _ = try await handle.update(Approval.rename, input: "y", timeout: .seconds(2))
            }
            #expect(error?.code == .deadlineExceeded)
            #expect(
                error?.message.contains("update rename of workflow lonely was not accepted in 2.0 seconds")
                    == true,
                "\(String(describing: error))"
            )
            await connection.close()
        }
    }

    @Test func `the time-skipping server skips a month`() async throws {
        try await WorkerFixture.with(workflows: [Sleeper.self], server: .init(kind: .timeSkipping)) {
            fixture in
            let start = ContinuousClock.now
            let days = try await fixture.client.execute(
                Sleeper.self,
                input: 30,
                options: fixture.options()
            )
            #expect(days == 30)
            // A server that waited would not be done before the test's own end.
            #expect(start.duration(to: .now) < .seconds(86_400))
        }
    }
}

/// Sleeps for days, and says how many by the workflow's own clock.
private actor Sleeper: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ days: Int) async throws -> Int {
        let start = context.now
        try await context.sleep(for: .seconds(86_400 * days), summary: "a long time")
        return Int((context.now.timeIntervalSince(start) / 86_400).rounded())
    }
}
