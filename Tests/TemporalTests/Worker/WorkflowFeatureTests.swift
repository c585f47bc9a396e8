import Foundation
import Temporal
import TemporalAPI
import TemporalTesting
import Testing

private let all: [any Workflow.Type] = [
    Approval.self, Parent.self, Failing.self, Counting.self, Recording.self, Cancellable.self,
    LongHistory.self,
]

@Suite struct `Workflow features` {
    @Test func `children, external workflows, continuation and markers`() async throws {
        try await WorkerFixture.with(workflows: all, activities: Sample.activities) { fixture in
            let client = fixture.client
            let cases = [
                ("Ada", "Hello Ada, Hello all"), ("failing", "child: no luck"), ("cancelling", "cancelled"),
                ("external", "Hello far, Hello all, WorkflowNotFound"),
            ]
            for (mode, expected) in cases {
                let handle = try await client.start(Parent.self, input: mode, options: fixture.options())
                #expect(try await handle.result() == expected, "\(mode)")
                try await replayEverywhere(try await handle.history())
            }
            let counting = try await client.start(Counting.self, input: 0, options: fixture.options())
            #expect(try await counting.result() == 3)

            let recording = try await client.start(Recording.self, options: fixture.options())
            let result = try await recording.result()
            #expect(result[1...4] == ["new", "Hello local", "Hello one", "20"])
            #expect(result.last == "bad")
            #expect(try await recording.query(Recording.value) == result)
            try await replayEverywhere(try await recording.history())
        }
    }

    @Test func `cancellation reaches timers and activities, and leaves room to clean up`() async throws {
        try await WorkerFixture.with(workflows: all, activities: Sample.activities) { fixture in
            for mode in ["timer", "activity", "finish"] {
                let handle = try await fixture.client.start(
                    Cancellable.self,
                    input: mode,
                    options: fixture.options()
                )
                let waits = mode == "activity" ? APIEventType.activityTaskScheduled : .timerStarted
                try await eventually { try await handle.history().events.contains { $0.eventType == waits } }
                try await Task.sleep(for: .milliseconds(100))
                try await handle.cancel()
                if mode == "finish" {
                    #expect(try await handle.result() == "Hello cleaner")
                } else {
                    let error = await #expect(throws: (any Error).self) { _ = try await handle.result() }
                    #expect(String(describing: error).lowercased().contains("cancel"))
                    #expect(try await handle.history().events.last?.eventType == .workflowExecutionCanceled)
                }
                try await replayEverywhere(try await handle.history())
            }
        }
    }

    @Test func `a history of thousands of events is replayed without the cache`() async throws {
        var options = WorkerOptions()
        options.stickyWorkflowCacheSize = 10
        try await WorkerFixture.with(workflows: all, activities: Sample.activities, options: options) {
            fixture in
            let count = 300
            let handle = try await fixture.client.start(
                LongHistory.self,
                input: count,
                options: fixture.options()
            )
            #expect(try await handle.result() == count * (count - 1) / 2)
            let history = try await handle.history()
            #expect(history.events.count > 6 * count)
            try await WorkflowReplayer(workflows: all).replay(history)
        }
    }
}

/// Replays a history as a worker would that lost its memory at each of its workflow tasks.
func replayEverywhere(_ history: WorkflowHistory) async throws {
    let replayer = WorkflowReplayer(workflows: all)
    for (index, event) in history.events.enumerated() where event.eventType == .workflowTaskStarted {
        guard index + 1 < history.events.count, history.events[index + 1].eventType == .workflowTaskCompleted
        else {
            continue
        }
        try await replayer.replay(
            WorkflowHistory(workflowID: history.workflowID, events: Array(history.events[...(index)]))
        )
    }
    try await replayer.replay(history)
}
