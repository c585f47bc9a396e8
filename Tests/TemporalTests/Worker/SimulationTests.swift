import Foundation
import Temporal
import TemporalTesting
import Testing

/// Waits days for an approval, and gives up.
private actor Patient: Workflow {
    static let approve = SignalDefinition<Bool>("approve")
    let context: WorkflowContext
    private var isApproved = false
    init(context: WorkflowContext) { self.context = context }

    static func register(_ handlers: inout WorkflowHandlers<Patient>) {
        handlers.signal(approve) { $0.isApproved = $1 }
    }

    func run(_ name: String) async throws -> String {
        let start = context.now
        if try await waitUntil(timeout: .seconds(86_400 * 3), { $0.isApproved }) {
            return try await context.activity(Sample.greet, name)
        }
        return "gave up after \(Int(context.now.timeIntervalSince(start) / 86_400)) days"
    }
}

/// Does many things at once, as its random numbers say.
private actor Random: Workflow {
    let context: WorkflowContext
    private var log: [String] = []
    init(context: WorkflowContext) { self.context = context }

    func run(_ seed: Int) async throws -> [String] {
        var state = UInt64(seed)
        for _ in 0..<6 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let choices = (0..<4).map { Int(state >> (8 * UInt64($0) + 20)) & 7 }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for choice in choices { group.addTask { try await self.step(choice) } }
                try await group.waitForAll()
            }
        }
        return log
    }

    private func step(_ choice: Int) async throws {
        switch choice {
        case 0: log.append(try await context.activity(Sample.greet, "a"))
        case 1: try await context.sleep(for: .seconds(5))
        case 2: log.append(try await context.localActivity(Sample.greet, "l"))
        case 3: log.append("\(context.random(in: 0..<1000))")
        case 4: log.append(try context.sideEffect { "effect \(Int.random(in: 0..<1000))" })
        case 5: log.append(try await context.child(Patient.self, "c"))
        case 6:
            let task = context.task { [context] in try await context.sleep(for: .seconds(100)) }
            try await context.sleep(for: .seconds(1))
            task.cancel()
            do { try await task.value } catch { log.append("cancelled") }
        default:
            do { _ = try await context.activity(Sample.fail, "f") } catch let error as ActivityFailure {
                log.append(error.rootCause.message)
            }
        }
    }
}

@Suite struct `Workflows without a server` {
    @Test(arguments: [false, true]) func `time passes at once`(rebuilds: Bool) async throws {
        let simulation = try WorkflowSimulation(
            Patient.self,
            input: "Ada",
            activities: Sample.activities,
            rebuildsBeforeEachTask: rebuilds
        )
        #expect(try await simulation.result() == "gave up after 3 days")
        let approved = try WorkflowSimulation(
            Patient.self,
            input: "Ada",
            activities: Sample.activities,
            rebuildsBeforeEachTask: rebuilds
        )
        try await approved.signal(Patient.approve, true)
        #expect(try await approved.result() == "Hello Ada")
    }

    @Test func `what never comes is said`() async throws {
        let simulation = try WorkflowSimulation(Approval.self, input: "Ada", activities: Sample.activities)
        let error = await #expect(throws: SimulationError.self) { _ = try await simulation.result() }
        #expect(error?.description.contains("condition at") == true)
    }

    /// The seed is in the name of a failing case.
    @Test(arguments: 1...60) func `a crash before any task changes nothing`(seed: Int) async throws {
        let simulation = try WorkflowSimulation(
            Random.self,
            input: seed,
            activities: Sample.activities,
            children: [Patient.self]
        )
        let result = try await simulation.result()
        let rebuilt = try WorkflowSimulation(
            Random.self,
            input: seed,
            activities: Sample.activities,
            children: [Patient.self],
            rebuildsBeforeEachTask: true
        )
        let again = try await rebuilt.result()
        // Side effects differ from run to run: that is why they are recorded.
        #expect(again.filter { !$0.hasPrefix("effect") } == result.filter { !$0.hasPrefix("effect") })
        let history = await simulation.history
        try await WorkflowReplayer(workflows: [Random.self]).replay(history)
    }
}
