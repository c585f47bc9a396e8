import Foundation
import Synchronization
import Temporal

/// The workflows and activities of the worker's tests.
enum Sample {
    static let greet = ActivityDefinition<String, String>("greet")
    static let fail = ActivityDefinition<String, String>(
        "fail",
        options: ActivityOptions(retryPolicy: RetryPolicy(maximumAttempts: 1))
    )

    static let slow = ActivityDefinition<Int, Int>("slow")
    static let echo = ActivityDefinition<Int, Int>("echo")
    static let patient = ActivityDefinition<Nothing, String>("patient")
    /// Whether misbehaving workflows behave.
    static let isMended = Flag()

    static let activities = [
        ActivityRegistration(greet) { _, name in "Hello \(name)" },
        ActivityRegistration(fail) { _, message in
            throw ApplicationFailure(message, type: "Sample", nonRetryable: true)
        },
        ActivityRegistration(slow) { _, milliseconds in
            try await Task.sleep(for: .milliseconds(milliseconds))
            return milliseconds
        },
        ActivityRegistration(echo) { _, number in number },
        ActivityRegistration(patient) { context in
            while true {
                context.heartbeat()
                try await Task.sleep(for: .milliseconds(50))
            }
        },
    ]
}

/// Waits for approval, an activity and a timer; answers queries and updates meanwhile.
actor Approval: Workflow {
    static let approve = SignalDefinition<Bool>("approve")
    static let phase = QueryDefinition<Nothing, String>("phase")
    static let rename = UpdateDefinition<String, String>("rename")

    let context: WorkflowContext
    private var isApproved = false
    private var phase = "new"
    private var name = ""

    init(context: WorkflowContext) { self.context = context }

    static func register(_ handlers: inout WorkflowHandlers<Approval>) {
        handlers.signal(approve) { workflow, yes in workflow.isApproved = yes }
        handlers.query(phase) { workflow in workflow.phase }
        handlers.update(
            rename,
            validate: { _, name in
                guard !name.isEmpty else { throw ApplicationFailure("a name is needed", type: "Invalid") }
            },
            { workflow, name in
                let old = workflow.name
                workflow.name = try await workflow.context.activity(Sample.greet, name)
                return old
            }
        )
    }

    func run(_ name: String) async throws -> String {
        self.name = name
        phase = "waiting"
        try await waitUntil { $0.isApproved }
        phase = "sleeping"
        try await context.sleep(for: .milliseconds(50))
        phase = "greeting"
        async let first = context.activity(Sample.greet, self.name)
        async let second = context.activity(Sample.greet, "all")
        let both = try await [first, second]
        try await context.allHandlersFinished()
        phase = "done"
        return both.joined(separator: ", ")
    }
}

/// A flag that several threads look at.
final class Flag: Sendable {
    private let state = Mutex(false)
    var value: Bool { state.withLock { $0 } }
    func set(_ value: Bool) { state.withLock { $0 = value } }
}
