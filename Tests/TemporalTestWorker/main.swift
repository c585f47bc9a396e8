// A worker in a process of its own, for tests that kill it: HOST:PORT QUEUE IDENTITY.
import Logging
import Temporal

// A killed worker's activity is taken for lost when this has passed.
let echo = ActivityDefinition<String, String>("echo", options: ActivityOptions(startToClose: .seconds(3)))
let fragile = ActivityDefinition<String, String>(
    "fragile",
    options: ActivityOptions(startToClose: .seconds(60), heartbeat: .seconds(1))
)

/// Passes an activity, a timer, a signal, a child and another activity.
actor Journey: Workflow {
    static let go = SignalDefinition<String>("go")
    let context: WorkflowContext
    private var signals: [String] = []

    init(context: WorkflowContext) { self.context = context }

    static func register(_ handlers: inout WorkflowHandlers<Journey>) {
        handlers.signal(go) { journey, name in journey.signals.append(name) }
    }

    func run(_ name: String) async throws -> String {
        if name == "child" { return try await context.activity(echo, "child") }
        if name == "fragile" { return try await context.activity(fragile, name) }
        let first = try await context.activity(echo, name)
        try await context.sleep(for: .milliseconds(20))
        try await waitUntil { !$0.signals.isEmpty }
        let child = try await context.child(Journey.self, "child")
        let local = try await context.localActivity(echo, "local")
        let last = try await context.activity(echo, "last")
        return ([first] + signals + [child, local, last]).joined(separator: " ")
    }
}

let arguments = CommandLine.arguments
let address = arguments[1].split(separator: ":")
let connection = TemporalConnection(
    .init(host: String(address[0]), port: Int(address[1]) ?? 7233, identity: arguments[3])
)
var options = WorkerOptions()
options.stickyScheduleToStartTimeout = .seconds(1)
options.disableEagerActivities = true
var logger = Logger(label: "worker")
logger.logLevel = .critical
let worker = Worker(
    connection: connection,
    taskQueue: arguments[2],
    workflows: [Journey.self],
    activities: [
        ActivityRegistration(echo) { _, text in text },
        // Hangs in the first worker, which is to be killed.
        ActivityRegistration(fragile) { context, _ in
            try context.heartbeat("first")
            let earlier = try context.heartbeatDetails(as: String.self)
            if earlier == nil { try await Task.sleep(for: .seconds(3600)) }
            return "attempt \(context.info.attempt) after \(earlier ?? "nothing")"
        },
    ],
    options: options,
    logger: logger
)
try await worker.run()
