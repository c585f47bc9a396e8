// A workflow, an activity and a worker, and a client that uses them. With `temporal server start-dev` running:
//
//     swift run temporal-hello worker &
//     swift run temporal-hello greet World
import Logging
import ServiceLifecycle
import Temporal
import UnixSignals

let greet = ActivityDefinition<String, String>(
    "greet",
    options: ActivityOptions(startToClose: .seconds(10))
)

/// Greets someone, unless told in time not to.
actor Greeting: Workflow {
    static let cancel = SignalDefinition<Nothing>("cancel")
    static let state = QueryDefinition<Nothing, String>("state")

    let context: WorkflowContext
    private var isCancelled = false
    private var state = "waiting"

    init(context: WorkflowContext) { self.context = context }

    static func register(_ handlers: inout WorkflowHandlers<Greeting>) {
        handlers.signal(cancel) { greeting, _ in greeting.isCancelled = true }
        handlers.query(state) { greeting in greeting.state }
    }

    func run(_ name: String) async throws -> String {
        if try await waitUntil(timeout: .seconds(1), { $0.isCancelled }) { return "(nothing)" }
        state = "greeting"
        context.logger.info("greeting", metadata: ["name": "\(name)"])
        return try await context.activity(greet, name)
    }
}

let logger = Logger(label: "hello")
let connection = TemporalConnection()
let arguments = CommandLine.arguments.dropFirst()
switch arguments.first {
case "worker":
    let worker = Worker(
        connection: connection,
        taskQueue: "hello",
        workflows: [Greeting.self],
        activities: [ActivityRegistration(greet) { _, name in "Hello, \(name)!" }]
    )
    let group = ServiceGroup(
        services: [worker],
        gracefulShutdownSignals: [.sigterm, .sigint],
        logger: logger
    )
    try await group.run()
default:
    let name = arguments.last ?? "World"
    let client = TemporalClient(connection: connection)
    let handle = try await client.start(
        Greeting.self,
        input: name,
        options: StartWorkflowOptions(id: "greeting-\(name)", taskQueue: "hello")
    )
    print(try await handle.result())
}
await connection.close()
