import Foundation
import Temporal
import TemporalAPI
import TemporalTesting
import Testing

@Suite struct `Misbehaving workflows` {
    @Test func `fail their tasks with a reason, and go on when they are mended`() async throws {
        var options = WorkerOptions()
        options.deadlockDetectionTimeout = .seconds(1)
        Sample.isMended.set(false)
        let modes = ["spin", "block", "sleep", "main", "detached", "error", "loop"]
        try await WorkerFixture.with(workflows: [Misbehaving.self, Counting.self], options: options) {
            fixture in
            var handles: [String: WorkflowHandle<String>] = [:]
            for mode in modes {
                var start = fixture.options()
                // Long enough that a busy machine reports the first failure before the server gives up on it.
                start.taskTimeout = .seconds(8)
                handles[mode] = try await fixture.client.start(Misbehaving.self, input: mode, options: start)
            }
            let reasons = [
                "spin": "deadlock", "block": "deadlock", "sleep": "outside", "main": "outside",
                "detached": "outside", "error": "CocoaError", "loop": "100,000 steps",
            ]
            for mode in modes {
                var message = ""
                try await eventually {
                    let events = try await handles[mode]?.history().events ?? []
                    message =
                        events.last { $0.eventType == .workflowTaskFailed }?
                        .workflowTaskFailedEventAttributes.failure.message ?? ""
                    return !message.isEmpty
                }
                #expect(message.contains(reasons[mode] ?? "?"), "\(mode): \(message)")
            }
            // The worker itself is well.
            let counting = try await fixture.client.start(Counting.self, input: 2, options: fixture.options())
            #expect(try await counting.result() == 3)
            Sample.isMended.set(true)
            for mode in modes { #expect(try await handles[mode]?.result() == "fine", "\(mode)") }
        }
    }
}
