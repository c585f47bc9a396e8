import Foundation
import Temporal
import TemporalAPI
import TemporalTesting
import Testing

private struct Order: Codable, Equatable, Sendable {
    var id: Int
    var items: [String]
    var at: Date
    var note: String?
}

private enum Counter: WorkflowDefinition {
    typealias Input = Int
    typealias Output = Int
    static let add = SignalDefinition<Int>("add")
    static let finish = SignalDefinition<Nothing>("finish")
    static let current = QueryDefinition<Nothing, Int>("current")
    static let plus = QueryDefinition<Int, Int>("plus")
    static let set = UpdateDefinition<Int, Int>("set")
}

private enum Greeting: WorkflowDefinition {
    typealias Input = String
    typealias Output = String
}

@Suite(.serialized) struct `Client beside Python's workflows` {
    @Test func `workflows start and give results of all kinds`() async throws {
        try await withPythonWorker { client, queue in
            let greeting = try await client.execute(
                Greeting.self,
                input: "Ada",
                options: .init(id: "greet", taskQueue: queue, summary: "says **hello**")
            )
            #expect(greeting == "Hello, Ada!")
            let order = Order(id: 1, items: ["a"], at: Date(timeIntervalSince1970: 1_700_000_000.25))
            let ordered = try await client.start(
                "Ordering",
                arguments: [order],
                options: .init(id: "order", taskQueue: queue),
                output: Order.self
            ).result()
            #expect(ordered == Order(id: 2, items: ["a", "ü\n\"'"], at: order.at))
            let bytes = try await client.start(
                "Bytes",
                arguments: [Data([1, 2, 255])],
                options: .init(id: "bytes", taskQueue: queue),
                output: Data.self
            ).result()
            #expect(bytes == Data([255, 2, 1]))
            let joined = try await client.start(
                "Joining",
                arguments: ["a", 2, true],
                options: .init(id: "join", taskQueue: queue),
                output: String.self
            ).result()
            #expect(joined == "a-2-True")
            let last = try await client.start(
                "Countdown",
                arguments: [2],
                options: .init(id: "count", taskQueue: queue),
                output: String.self
            ).result()
            #expect(last == "liftoff")
            let attempts = try await client.start(
                "Flaky",
                options: .init(
                    id: "flaky",
                    taskQueue: queue,
                    retryPolicy: RetryPolicy(initialInterval: .milliseconds(10), maximumAttempts: 5)
                ),
                output: Int.self
            ).result()
            #expect(attempts == 3)

            let description = try await client.handle(id: "greet").describe()
            #expect(description.info.status == .completed)
            #expect(description.info.type == "Greeting")
            #expect(description.summary == "says **hello**")
            let history = try await client.handle(id: "greet").history()
            #expect(history.events.first?.eventType == .workflowExecutionStarted)
            #expect(history.events.last?.eventType == .workflowExecutionCompleted)
            let copy = try WorkflowHistory(workflowID: "greet", json: history.json())
            #expect(copy.events.map(\.eventType) == history.events.map(\.eventType))
            #expect(
                copy.events.first?.workflowExecutionStartedEventAttributes.input
                    == history.events.first?.workflowExecutionStartedEventAttributes.input
            )
        }
    }

    @Test func `failures arrive with causes, details and Python's stack trace`() async throws {
        try await withPythonWorker { client, queue in
            let handle = try await client.start(
                "Refusing",
                arguments: ["no"],
                options: .init(id: "refuse", taskQueue: queue)
            )
            let error = try await #require(throws: WorkflowFailedError.self) { try await handle.result() }
            #expect(error.status == .failed)
            let activity = try #require(error.cause as? ActivityFailure)
            #expect(activity.activityType == "refuse")
            #expect(activity.retryState == .nonRetryableFailure)
            let refused = try #require(activity.cause as? ApplicationFailure)
            #expect(refused.message == "no")
            #expect(refused.type == "Refused")
            #expect(refused.isNonRetryable)
            #expect(try refused.details.decode([String: Int].self) == ["code": 7])
            #expect(refused.stackTrace.contains("worker.py"))
            let root = try #require(error.cause.rootCause as? ApplicationFailure)
            #expect(root.type == "ValueError")
            #expect(root.message == "the root")
        }
    }

    @Test func `signals, queries and updates`() async throws {
        try await withPythonWorker { client, queue in
            let handle = try await client.start(
                Counter.self,
                input: 1,
                options: .init(id: "c", taskQueue: queue)
            )
            try await handle.signal(Counter.add, input: 4)
            try await handle.signal("add", arguments: [5])
            #expect(try await handle.query(Counter.current) == 10)
            #expect(try await handle.query(Counter.plus, input: 7) == 17)
            #expect(try await handle.query("plus", arguments: [1], as: Int.self) == 11)
            let broken = try await #require(throws: QueryFailedError.self) {
                try await handle.query("broken", as: Int.self)
            }
            #expect(broken.message.contains("cannot say"))
            await #expect(throws: QueryFailedError.self) { try await handle.query("absent", as: Int.self) }

            #expect(try await handle.update(Counter.set, input: 20) == 10)
            let slow = try await handle.startUpdate(Counter.set, input: 100, id: "slow")
            #expect(slow.id == "slow")
            #expect(try await slow.result() == 20)
            #expect(try await handle.updateHandle(id: "slow", as: Int.self).result() == 20)
            let refused = try await #require(throws: UpdateFailedError.self) {
                try await handle.update(Counter.set, input: -1)
            }
            #expect((refused.cause as? ApplicationFailure)?.message == "negative")
            let unlucky = try await #require(throws: UpdateFailedError.self) {
                try await handle.update("set", arguments: [13], as: Int.self)
            }
            #expect((unlucky.cause as? ApplicationFailure)?.type == "Superstition")

            try await handle.signal(Counter.finish)
            #expect(try await handle.result() == 100)
            let rejected = try await #require(throws: QueryRejectedError.self) {
                try await handle.query(Counter.current, rejects: .ended)
            }
            #expect(rejected.status == .completed)
            #expect(try await handle.query(Counter.current) == 100)
            await #expect(throws: WorkflowNotFoundError.self) {
                try await handle.signal(Counter.add, input: 1)
            }
            await #expect(throws: WorkflowNotFoundError.self) {
                try await client.handle(id: "none").describe()
            }
        }
    }

    @Test func `signal with start and update with start`() async throws {
        try await withPythonWorker { client, queue in
            let options = StartWorkflowOptions(id: "s", taskQueue: queue)
            for _ in 0..<2 {
                try await client.signalWithStart(
                    Counter.self,
                    input: 10,
                    options: options,
                    signal: Counter.add,
                    signalInput: 1
                )
            }
            let handle = client.handle(for: Counter.self, id: "s")
            #expect(try await handle.query(Counter.current) == 12)

            let first = try await client.updateWithStart(
                Counter.self,
                input: 3,
                options: .init(id: "u", taskQueue: queue),
                update: Counter.set,
                updateInput: 8,
                waitFor: .completed
            )
            // Python runs the update either before or after the workflow's first lines.
            let before = try await first.result()
            #expect([0, 3].contains(before))
            let second = try await client.updateWithStart(
                "Counter",
                arguments: [3],
                options: .init(id: "u", taskQueue: queue),
                update: "set",
                updateArguments: [9],
                as: Int.self
            )
            #expect(try await second.result() == (before == 0 ? 11 : 8))
            await #expect(throws: UpdateFailedError.self) {
                _ = try await client.updateWithStart(
                    Counter.self,
                    input: 3,
                    options: .init(id: "u", taskQueue: queue),
                    update: Counter.set,
                    updateInput: -1,
                    waitFor: .completed
                ).result()
            }
            await #expect(throws: WorkflowAlreadyStartedError.self) {
                _ = try await client.updateWithStart(
                    Counter.self,
                    input: 3,
                    options: .init(id: "u", taskQueue: queue, idConflictPolicy: .fail),
                    update: Counter.set,
                    updateInput: 1
                )
            }
        }
    }

    @Test func `policies, cancelling and terminating`() async throws {
        try await withPythonWorker { client, queue in
            var options = StartWorkflowOptions(id: "p", taskQueue: queue)
            let handle = try await client.start(Counter.self, input: 1, options: options)
            let taken = try await #require(throws: WorkflowAlreadyStartedError.self) {
                try await client.start(Counter.self, input: 2, options: options)
            }
            #expect(taken.runID == handle.firstRunID)
            options.idConflictPolicy = .useExisting
            let same = try await client.start(Counter.self, input: 2, options: options)
            #expect(same.firstRunID == handle.firstRunID)

            #expect(try await handle.query(Counter.current) == 1)
            try await handle.cancel(reason: "enough")
            let canceled = try await #require(throws: WorkflowFailedError.self) { try await handle.result() }
            #expect(canceled.status == .canceled)
            #expect(canceled.cause is CanceledFailure)

            options.idReusePolicy = .rejectDuplicate
            await #expect(throws: WorkflowAlreadyStartedError.self) {
                try await client.start(Counter.self, input: 2, options: options)
            }
            options.idReusePolicy = .allowDuplicateFailedOnly
            let again = try await client.start(Counter.self, input: 2, options: options)
            try await again.terminate(reason: "over", details: ["x"])
            let terminated = try await #require(throws: WorkflowFailedError.self) { try await again.result() }
            #expect(terminated.status == .terminated)
            #expect(terminated.cause.message == "over")

            let late = try await client.start(
                Counter.self,
                input: 1,
                options: .init(id: "late", taskQueue: queue, executionTimeout: .seconds(1))
            )
            let timedOut = try await #require(throws: WorkflowFailedError.self) { try await late.result() }
            #expect(timedOut.status == .timedOut)
            #expect(timedOut.cause is TimeoutFailure)
        }
    }

    @Test func `listings, counts, memos and search attributes`() async throws {
        let city = SearchAttributeKey<String>("City")
        let level = SearchAttributeKey<Int>("Storey")
        let options = TestServer.Options(searchAttributes: ["City": "Keyword", "Storey": "Int"])
        try await withPythonWorker(options) { client, queue in
            for index in 0..<7 {
                let handle = try await client.start(
                    Counter.self,
                    input: index,
                    options: .init(
                        id: "l\(index)",
                        taskQueue: queue,
                        memo: Memo(["index": index]),
                        searchAttributes: SearchAttributes().with(city, "Bern").with(level, index)
                    )
                )
                if index < 3 { try await handle.signal(Counter.finish) }
            }
            try await eventually("seven workflows are listed, three of them completed") {
                let all = try await client.count("City = 'Bern'")
                let completed = try await client.count("ExecutionStatus = 'Completed'")
                return all == 7 && completed == 3
            }
            let found = try await client.list("City = 'Bern' AND Storey >= 2", pageSize: 2).all()
            #expect(Set(found.map(\.workflowID)) == ["l2", "l3", "l4", "l5", "l6"])
            let one = try #require(found.first { $0.workflowID == "l5" })
            #expect(one.status == .running)
            #expect(try one.memo.decode("index", as: Int.self) == 5)
            #expect(one.searchAttributes[city] == "Bern")
            #expect(one.searchAttributes[level] == 5)
            await #expect(throws: RPCError.self) { try await client.count("no such syntax") }
        }
    }

    @Test func `a history is followed while it grows`() async throws {
        try await withPythonWorker { client, queue in
            let handle = try await client.start(
                Counter.self,
                input: 1,
                options: .init(id: "h", taskQueue: queue)
            )
            let follower = Task {
                var types: [APIEventType] = []
                for try await event in handle.events(waitsForMore: true) { types.append(event.eventType) }
                return types
            }
            #expect(try await handle.query(Counter.current) == 1)
            try await handle.signal(Counter.finish)
            let types = try await follower.value
            #expect(types.first == .workflowExecutionStarted)
            #expect(types.contains(.workflowExecutionSignaled))
            #expect(types.last == .workflowExecutionCompleted)
        }
    }

    @Test func `activities that somebody else finishes`() async throws {
        try await withPythonWorker { client, queue in
            func begin(_ id: String) async throws -> (WorkflowHandle<String>, AsyncActivityHandle) {
                let handle = try await client.start(
                    "Handing",
                    options: .init(id: id, taskQueue: queue),
                    output: String.self
                )
                try await eventually("the activity has started") {
                    try await handle.describe().response.pendingActivities.contains { $0.state == .started }
                }
                return (handle, client.activity(.id(workflowID: id, runID: nil, activityID: "handed")))
            }
            let (completed, activity) = try await begin("completed")
            #expect(try await activity.heartbeat(details: [1]) == false)
            try await activity.complete("from outside")
            #expect(try await completed.result() == "from outside")

            let (failed, failing) = try await begin("failed")
            try await failing.fail(ApplicationFailure("broken", type: "Outside"))
            let error = try await #require(throws: WorkflowFailedError.self) { try await failed.result() }
            #expect(error.cause.first(ApplicationFailure.self)?.type == "Outside")

            let (canceled, canceling) = try await begin("canceled")
            try await canceled.cancel()
            try await eventually("the cancellation reaches the activity") { try await canceling.heartbeat() }
            try await canceling.reportCancellation(details: ["left early"])
            let end = try await #require(throws: WorkflowFailedError.self) { try await canceled.result() }
            #expect(end.status == .canceled)
        }
    }

    @Test func `schedules`() async throws {
        try await withPythonWorker { client, queue in
            var calendar = ScheduleSpec.Calendar()
            calendar.hour = [.through(8, 18, step: 2)]
            let schedule = Schedule(
                action: try ScheduleAction(
                    Greeting.self,
                    input: "Bo",
                    options: .init(id: "hello", taskQueue: queue)
                ),
                spec: ScheduleSpec(
                    calendars: [calendar],
                    intervals: [.init(every: .seconds(3600), offset: .seconds(60))],
                    jitter: .seconds(1),
                    timeZone: "Europe/Zurich"
                ),
                policy: SchedulePolicy(
                    overlap: .bufferOne,
                    catchupWindow: .seconds(60),
                    pausesOnFailure: true
                ),
                note: "first"
            )
            let handle = try await client.createSchedule(id: "sch", schedule, memo: Memo(["a": 1]))
            await #expect(throws: ScheduleAlreadyExistsError.self) {
                try await client.createSchedule(id: "sch", schedule)
            }
            var description = try await handle.describe()
            #expect(description.schedule.spec.calendars.first?.hour == [.through(8, 18, step: 2)])
            #expect(description.schedule.spec.intervals == schedule.spec.intervals)
            #expect(description.schedule.spec.timeZone == "Europe/Zurich")
            #expect(description.schedule.policy == schedule.policy)
            #expect(description.schedule.note == "first")
            #expect(try description.memo.decode("a", as: Int.self) == 1)
            #expect(!description.nextActionTimes.isEmpty)

            try await handle.trigger()
            try await eventually("the schedule has started its workflow") {
                try await handle.describe().actionCount == 1
            }
            description = try await handle.describe()
            let started = try #require(description.recentWorkflowIDs.first)
            #expect(started.hasPrefix("hello-"))
            #expect(try await client.handle(for: Greeting.self, id: started).result() == "Hello, Bo!")

            try await handle.pause(note: "rest")
            #expect(try await handle.describe().schedule.isPaused)
            try await handle.unpause()
            try await handle.update { $0.spec = ScheduleSpec(cronExpressions: ["0 12 * * MON"]) }
            description = try await handle.describe()
            #expect(description.schedule.spec.calendars.count == 1)
            #expect(!description.schedule.isPaused)
            try await eventually("the schedule is listed") {
                try await client.listSchedules().all() == ["sch"]
            }
            try await handle.delete()
            await #expect(throws: ScheduleNotFoundError.self) {
                try await client.schedule(id: "none").describe()
            }
        }
    }
}
