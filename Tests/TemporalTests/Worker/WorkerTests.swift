import Foundation
import Temporal
import TemporalAPI
import TemporalTesting
import Testing

@Suite struct `Workers` {
    @Test func `a workflow with activities, a timer, signals, queries and updates`() async throws {
        try await WorkerFixture.with(workflows: [Approval.self], activities: Sample.activities) { fixture in
            let handle = try await fixture.client.start(
                Approval.self,
                input: "Ada",
                options: fixture.options()
            )
            try await eventually { try await handle.query(Approval.phase) == "waiting" }
            let error = await #expect(throws: (any Error).self) {
                _ = try await handle.update(Approval.rename, input: "")
            }
            #expect(String(describing: error).contains("a name is needed"))
            #expect(try await handle.update(Approval.rename, input: "Grace") == "Ada")
            try await handle.signal(Approval.approve, input: true)
            #expect(try await handle.result() == "Hello Hello Grace, Hello all")
            #expect(try await handle.query(Approval.phase) == "done")
            let history = try await handle.history()
            try await WorkflowReplayer(workflows: [Approval.self]).replay(history)
        }
    }

    @Test(arguments: [0, 1]) func `a small cache changes nothing`(size: Int) async throws {
        var options = WorkerOptions()
        options.stickyWorkflowCacheSize = size
        try await WorkerFixture.with(
            workflows: [Approval.self],
            activities: Sample.activities,
            options: options
        ) { fixture in
            try await withThrowingTaskGroup(of: String.self) { group in
                for index in 0..<8 {
                    group.addTask {
                        let handle = try await fixture.client.start(
                            Approval.self,
                            input: "\(index)",
                            options: fixture.options()
                        )
                        _ = try await handle.update(Approval.rename, input: "x\(index)")
                        try await handle.signal(Approval.approve, input: true)
                        return try await handle.result()
                    }
                }
                var results: Set<String> = []
                for try await result in group { results.insert(result) }
                #expect(results == Set((0..<8).map { "Hello Hello x\($0), Hello all" }))
            }
        }
    }
}
