import Foundation
import Temporal
import TemporalAPI
import TemporalTesting
import Testing

private let soon = ActivityOptions(startToClose: .seconds(10))

/// The same as the workflow of this name in write_histories.py.
private actor Order: Workflow {
    static let close = UpdateDefinition<String, Int>("close")
    let context: WorkflowContext
    private var items: [String] = []
    private var isClosed = false
    init(context: WorkflowContext) { self.context = context }

    static func register(_ handlers: inout WorkflowHandlers<Order>) {
        handlers.signal(SignalDefinition<String>("add")) { $0.items.append($1) }
        handlers.signal(SignalDefinition<String>("slow_add")) { order, item in
            order.items.append(try await order.context.activity(Sample.greet, item, options: soon))
        }
        handlers.update(close) { order, reason in
            _ = try await order.context.activity(Sample.greet, reason, options: soon)
            order.isClosed = true
            return order.items.count
        }
    }

    func run(_ name: String) async throws -> [String] {
        try await waitUntil { $0.items.count >= 2 }
        if try await !waitUntil(timeout: .milliseconds(50), { _ in false }) { items.append("timeout") }
        if context.patched("local") { items.append(try await context.localActivity(Sample.greet, "local")) }
        async let one = context.activity(Sample.greet, "one", options: soon)
        async let two = context.activity(Sample.greet, "two", options: soon)
        let both = try await [one, two]
        items += both
        do { _ = try await context.activity(Sample.fail, "no", options: soon) } catch let error
            as ActivityFailure
        {
            items.append(error.rootCause.message)
        }
        let child = try await context.startChild(
            name: "Child",
            arguments: [name],
            options: ChildWorkflowOptions(workflowID: "\(context.info.workflowID)-child"),
            as: String.self
        )
        items.append(try await child.result())
        try await waitUntil(timeout: .seconds(60)) { $0.isClosed }
        var memo = Memo()
        try memo.set("state", "closed")
        try context.upsertMemo(memo)
        return items
    }
}

private actor Cancelled: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ name: String) async throws -> String {
        do { try await context.sleep(for: .seconds(3600)) } catch  where error.isCancellation {
            let context = context
            _ = try await context.shielded {
                try await context.activity(Sample.greet, "cleaner", options: soon)
            }
            throw error
        }
        return "not cancelled"
    }
}

private actor Rounds: Workflow {
    let context: WorkflowContext
    init(context: WorkflowContext) { self.context = context }

    func run(_ count: Int) async throws -> Int {
        for index in 0..<40 { _ = try await context.activity(Sample.greet, "\(index)", options: soon) }
        if count < 1 { try context.continueAsNew(count + 1) }
        return count
    }
}

@Suite struct `Histories of the Python SDK` {
    @Test func `replay command for command, and a changed one is refused`() async throws {
        try await TestServer.with { server in
            let histories = try await python("write_histories.py", server: server)
            for name in ["Order", "Cancelled", "Rounds"] {
                let history = try #require(histories[name])
                try await WorkflowReplayer(workflows: [Order.self, Cancelled.self, Rounds.self]).replay(
                    history
                )
            }
            var changed = try #require(histories["Order"])
            let index = try #require(changed.events.firstIndex { $0.eventType == .activityTaskScheduled })
            changed.events[index].activityTaskScheduledEventAttributes.activityType.name = "other"
            let error = await #expect(throws: NondeterminismError.self) {
                try await WorkflowReplayer(workflows: [Order.self]).replay(changed)
            }
            #expect(error?.eventID == Int64(index + 1))
            #expect(error?.found.contains("other") == true)
            #expect(error?.produced.contains("greet") == true)
        }
    }
}

/// Runs a script with the official SDK, and reads the histories that it writes.
private func python(_ script: String, server: TestServer) async throws -> [String: WorkflowHistory] {
    let folder = FileManager.default.temporaryDirectory.appending(path: "histories-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let log = server.folder.appending(path: "\(script).log")
    try Data().write(to: log)
    let process = Process()
    process.executableURL = URL(filePath: ".tools/test/bin/python")
    process.arguments = ["Tests/TemporalTests/Python/\(script)", "127.0.0.1:\(server.port)", folder.path]
    process.environment = ["PATH": "/usr/bin:/bin"]
    process.standardError = try FileHandle(forWritingTo: log)
    try process.run()
    do {
        try await eventually("\(script) has ended", within: .seconds(180)) { !process.isRunning }
    } catch {
        process.terminate()
        throw error
    }
    let errors = try String(contentsOf: log, encoding: .utf8)
    try #require(process.terminationStatus == 0, "\(script): \(process.terminationStatus): \(errors)")
    var histories: [String: WorkflowHistory] = [:]
    for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
        let name = file.deletingPathExtension().lastPathComponent
        let json = try Data(contentsOf: file)
        if let keep = ProcessInfo.processInfo.environment["MARTLET_KEEP"] {
            try json.write(to: URL(filePath: keep).appending(path: file.lastPathComponent))
        }
        histories[name] = try WorkflowHistory(workflowID: name.lowercased(), json: json)
    }
    return histories
}
