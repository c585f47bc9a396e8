import Foundation
import TemporalAPI

/// Runs the code of workflows against histories that were recorded before, to see that it still does the same.
///
/// Histories of other SDKs' workers will do, if the code makes the same commands.
public struct WorkflowReplayer: Sendable {
    private let registrations: [String: WorkflowRegistration]
    private let environment: WorkflowEnvironment

    public init(workflows: [any Workflow.Type], converter: DataConverter = DataConverter()) {
        let all = workflows.map { WorkflowRegistration($0) }
        registrations = Dictionary(all.map { ($0.name, $0) }) { $1 }
        environment = WorkflowEnvironment(namespace: "default", taskQueue: "replay", converter: converter)
    }

    /// Replays one history from its start.
    ///
    /// - Throws: What would fail the workflow task, such as the first disagreement with the history, with the event,
    ///   the command found there and the one that the code makes.
    public func replay(_ history: WorkflowHistory) async throws {
        let events = try await environment.converter.decode(events: history.events)
        guard let first = events.first, first.eventType == .workflowExecutionStarted else {
            throw WorkflowTaskError(
                "the history of \(history.workflowID) does not begin with the start of a workflow"
            )
        }
        let attributes = first.workflowExecutionStartedEventAttributes
        guard let registration = registrations[attributes.workflowType.name] else {
            throw WorkflowTaskError("the replayer has no workflow type \"\(attributes.workflowType.name)\"")
        }
        let id = attributes.workflowID.isEmpty ? history.workflowID : attributes.workflowID
        var environment = environment
        environment.taskQueue = attributes.taskQueue.name
        let run = WorkflowRun(
            registration,
            workflowID: id,
            runID: attributes.originalExecutionRunID,
            environment: environment
        )
        let threads = WorkflowThreads(size: 1)
        defer { threads.stop() }
        // A debugger may hold the workflow for long.
        let limit = Duration.seconds(60)
        try await threads.run(limit: limit) {
            defer { run.evict { _ in } }
            try run.process(events: events, isLive: false)
            try run.checkEnd()
        }
    }
}
