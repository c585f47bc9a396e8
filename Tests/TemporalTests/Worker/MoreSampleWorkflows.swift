import Foundation
import Temporal

/// Starts a child, signals it, and gives its result.
actor Parent: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ mode: String) async throws -> String {
        switch mode {
        case "failing":
            do { _ = try await context.child(Failing.self, "no luck") } catch let error
                as ChildWorkflowFailure
            {
                return "child: \(error.rootCause.message)"
            }
            return "no failure"
        case "cancelling":
            let handle = try await context.startChild(Approval.self, "x")
            handle.cancel()
            do { _ = try await handle.result() } catch  where error.isCancellation { return "cancelled" }
            return "not cancelled"
        case "external":
            let handle = try await context.startChild(Approval.self, "far")
            try await context.workflow(id: handle.workflowID).signal(Approval.approve, true)
            do {
                try await context.workflow(id: "nobody").signal(Approval.approve, true)
            } catch let error as ApplicationFailure {
                return try await handle.result() + ", " + error.type
            }
            return "no failure"
        default:
            let handle = try await context.startChild(Approval.self, mode)
            try await handle.signal(Approval.approve, true)
            return try await handle.result()
        }
    }
}

actor Failing: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ message: String) async throws -> String {
        try await context.activity(Sample.fail, message)
    }
}

/// Counts through several runs.
actor Counting: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ count: Int) async throws -> Int {
        try await context.sleep(for: .milliseconds(1))
        if count < 3 { try context.continueAsNew(count + 1) }
        return count
    }
}

/// Uses what is recorded in markers: side effects, patches, local activities, a memo.
actor Recording: Workflow {
    static let value = QueryDefinition<Nothing, [String]>("value")
    let context: WorkflowContext
    private var seen: [String] = []
    init(context: WorkflowContext) { self.context = context }

    static func register(_ handlers: inout WorkflowHandlers<Recording>) {
        handlers.query(value) { $0.seen }
    }

    func run(_ input: Nothing) async throws -> [String] {
        seen.append(try context.sideEffect { UUID().uuidString })
        seen.append(context.patched("first") ? "new" : "old")
        seen.append(try await context.localActivity(Sample.greet, "local"))
        async let one = context.localActivity(Sample.greet, "one")
        async let two = context.localActivity(Sample.slow, 20)
        seen += [try await one, "\(try await two)"]
        var memo = Memo()
        try memo.set("note", "kept")
        try context.upsertMemo(memo)
        try await context.sleep(for: .milliseconds(10))
        context.deprecatePatch("second")
        seen.append(context.uuid().uuidString)
        seen.append("\(context.random(in: 0..<100))")
        do { _ = try await context.localActivity(Sample.fail, "bad") } catch let error as ActivityFailure {
            seen.append(error.rootCause.message)
        }
        return seen
    }
}

/// Cleans up when it is cancelled.
actor Cancellable: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ mode: String) async throws -> String {
        do {
            if mode == "activity" {
                _ = try await context.activity(
                    Sample.patient,
                    Nothing(),
                    options: ActivityOptions(
                        startToClose: .seconds(60),
                        heartbeat: .seconds(1),
                        cancellation: .waitUntilCompleted
                    )
                )
            } else {
                try await context.sleep(for: .seconds(3600))
            }
            return "not cancelled"
        } catch  where error.isCancellation {
            let context = context
            let cleaned = try await context.shielded { try await context.activity(Sample.greet, "cleaner") }
            if mode == "finish" { return cleaned }
            throw error
        }
    }
}

/// Misbehaves until told otherwise.
actor Misbehaving: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ mode: String) async throws -> String {
        if !Sample.isMended.value {
            switch mode {
            case "spin": while !Sample.isMended.value {}
            case "block": block(4)
            case "sleep": try await Task.sleep(for: .milliseconds(20))
            case "main": await MainActor.run {}
            case "detached": await Task.detached { block(0.05) }.value
            case "error": throw CocoaError(.fileNoSuchFile)
            case "loop": while !Sample.isMended.value { await Task.yield() }
            default: break
            }
        }
        try await context.sleep(for: .milliseconds(1))
        return "fine"
    }
}

/// Starts many activities, one after another.
actor LongHistory: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ count: Int) async throws -> Int {
        var sum = 0
        for index in 0..<count { sum += try await context.activity(Sample.echo, index) }
        return sum
    }
}

/// Holds the thread, as a workflow never should.
private func block(_ seconds: Double) { Thread.sleep(forTimeInterval: seconds) }
