// The Swift side of the comparison with the official Python SDK: see bench.py, which has the other side and drives both.
import Foundation
import Logging
import Temporal

let echo = ActivityDefinition<Int, Int>("echo")

/// One activity.
actor Single: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }
    func run(_ number: Int) async throws -> Int { try await context.activity(echo, number) }
}

/// Waits for a signal that does not come.
actor Idle: Workflow {
    static let finish = SignalDefinition<Nothing>("finish")
    let context: WorkflowContext
    private var isFinished = false
    init(context: WorkflowContext) { self.context = context }

    static func register(_ handlers: inout WorkflowHandlers<Idle>) {
        handlers.signal(finish) { idle, _ in idle.isFinished = true }
    }

    func run(_ number: Int) async throws -> Int {
        try await waitUntil { $0.isFinished }
        return number
    }
}

/// Many activities, one after another.
actor Long: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ count: Int) async throws -> Int {
        var sum = 0
        for index in 0..<count { sum += try await context.activity(echo, index) }
        return sum
    }
}

let arguments = CommandLine.arguments
switch arguments.dropFirst().first {
case "worker" where arguments.count == 4:
    // HOST:PORT QUEUE
    let address = arguments[2].split(separator: ":")
    let connection = TemporalConnection(.init(host: String(address[0]), port: Int(address[1]) ?? 7233))
    var options = WorkerOptions()
    options.stickyWorkflowCacheSize = 20_000
    var logger = Logger(label: "bench")
    logger.logLevel = .error
    let worker = Worker(
        connection: connection,
        taskQueue: arguments[3],
        workflows: [Single.self, Idle.self, Long.self],
        activities: [ActivityRegistration(echo) { _, number in number }],
        options: options,
        logger: logger
    )
    try await worker.run()
case "replay" where arguments.count == 4:
    // FILE ROUNDS; prints the seconds of one replay, decoding of JSON left out.
    let history = try WorkflowHistory(
        workflowID: "replay",
        json: Data(contentsOf: URL(filePath: arguments[2]))
    )
    let replayer = WorkflowReplayer(workflows: [Long.self])
    let rounds = Int(arguments[3]) ?? 1
    try await replayer.replay(history)
    let start = ContinuousClock.now
    for _ in 0..<rounds { try await replayer.replay(history) }
    let took = start.duration(to: .now) / rounds
    print(Double(took.components.seconds) + Double(took.components.attoseconds) / 1e18)
default:
    print("usage: temporal-bench worker HOST:PORT QUEUE | replay FILE ROUNDS")
    exit(2)
}
