import ClusterContract
import Control
package import Temporal

import Foundation

/// The workflow `app/<name>`: everything that is done with an app, one operation after the other.
///
/// ```
///   deploy ─┐                                       ┌─ prepare ─ check ─ adopt | start ─ retire
///  rollback ┤                                       ├─ prepare ─ start ─ retire
/// configure ┼─► queue ─► one operation at a time ───┼─ configure
///    delete ┤                                       ├─ remove
///   assign ─┘  (from the slicer)                    ├─ move: prepare ─ follow ─ cutOver ─ remove
///                                                   └─ failover: adopt
/// ```
/// Each step is an activity on the queue of the host that it concerns. A step that fails takes the operation back; an app
/// that was closed for a move is brought back into service by whichever of the two hosts the store allows.
package actor ApplicationWorkflow: Workflow {
    package static let name = "Application"
    package static let queueLimit = 16

    package nonisolated let context: WorkflowContext
    var state: ApplicationMemory
    var timing = ApplicationTiming()
    private var queue: [Pending] = []
    private var results: [String: Result<OperationResult, MartletError>] = [:]
    private var isStarted = false
    /// The slicer's last word about where the app belongs.
    var decision: PlacementDecision?

    /// What waits for its turn.
    enum Request: Sendable {
        case deploy(DeployRequest)
        case rollback(RollbackRequest)
        case configure(ConfigureRequest)
        case delete(DeleteRequest)
        case place(PlacementDecision)
    }

    private struct Pending: Sendable {
        var id: String
        var request: Request
        /// An update that waits for the result.
        var isAwaited: Bool
    }

    package init(context: WorkflowContext) {
        self.context = context
        // Replaced as soon as the workflow runs; messages wait for that.
        state = ApplicationMemory(app: .unknown, createdAt: context.now)
    }

    package static func register(_ handlers: inout WorkflowHandlers<ApplicationWorkflow>) {
        handlers.update(deploy) { try await $0.perform(.deploy($1)) }
        handlers.update(rollback) { try await $0.perform(.rollback($1)) }
        handlers.update(configure) { try await $0.perform(.configure($1)) }
        handlers.update(delete) { try await $0.perform(.delete($1)) }
        handlers.signal(assign) { workflow, decision in
            try await workflow.waitUntil { $0.isStarted }
            workflow.receive(decision)
        }
        handlers.signal(ended) { workflow, lease in
            try await workflow.waitUntil { $0.isStarted }
            let host = lease.host.rawValue
            workflow.state.endedTerms[host] = max(workflow.state.endedTerms[host] ?? 0, lease.term)
        }
        handlers.query(state) { $0.state }
        handlers.query(operation) { workflow, id in workflow.state.operations.first { $0.id == id } }
    }

    package func run(_ input: ApplicationInput) async throws -> Nothing {
        timing = input.timing
        state = input.state ?? ApplicationMemory(app: input.app, createdAt: context.now)
        isStarted = true
        while true {
            try await waitUntil { !$0.queue.isEmpty || $0.shouldContinueAsNew }
            if let next = queue.first {
                await handle(next)
                queue.removeFirst()
                if state.isDeleted || (state.version == nil && queue.isEmpty) {
                    try await context.allHandlersFinished()
                    if queue.isEmpty { return Nothing() }
                }
                continue
            }
            try await context.allHandlersFinished()
            guard queue.isEmpty else { continue }
            try context.continueAsNew(ApplicationInput(app: state.app, timing: timing, state: state))
        }
    }

    // MARK: - Messages

    private var shouldContinueAsNew: Bool {
        context.isContinueAsNewSuggested || context.historyLength > timing.historyEvents
    }

    /// - Throws: ``MartletError`` when the request cannot be taken.
    private func admit(_ request: Request) throws {
        guard queue.count < Self.queueLimit else {
            throw MartletError(
                .conflict,
                "\(queue.count) changes of \(state.app) wait for their turn; try again when they are done"
            )
        }
        if case .deploy(let request) = request {
            guard let owner = state.owner, owner != request.owner else { return }
            throw MartletError(
                .nameTaken,
                "the name \(state.app) belongs to another account; choose another"
            )
        }
        guard state.version != nil else {
            throw MartletError(
                .notFound,
                "there is no app named \(state.app); `martlet apps` lists those that there are"
            )
        }
        if case .rollback(let request) = request { _ = try state.earlier(request.version) }
    }

    private func perform(_ request: Request) async throws -> OperationResult {
        try await waitUntil { $0.isStarted }
        do { try admit(request) } catch { throw OrderFailure.failure(from: error) }
        let id = request.operation
        queue.append(Pending(id: id, request: request, isAwaited: true))
        try await waitUntil { $0.results[id] != nil }
        switch results.removeValue(forKey: id) {
        case .success(let result): return result
        case .failure(let error): throw OrderFailure.failure(from: error)
        case nil: throw CancellationError()
        }
    }

    private func receive(_ decision: PlacementDecision) {
        state.endedTerms.merge(decision.endedTerms) { max($0, $1) }
        self.decision = decision
        // A first placement is waited for by the deployment that asked.
        guard decision.cause != .first else { return }
        queue.append(Pending(id: decision.operation, request: .place(decision), isAwaited: false))
    }

    private func handle(_ pending: Pending) async {
        let result: Result<OperationResult, MartletError>
        do {
            result = .success(try await carryOut(pending.request, id: pending.id))
        } catch {
            let shown = OrderFailure.error(from: error, while: "\(pending.request.name) \(state.app)")
            result = .failure(shown)
        }
        if pending.isAwaited { results[pending.id] = result }
    }

    private func carryOut(_ request: Request, id: String) async throws -> OperationResult {
        switch request {
        case .deploy(let request): try await deploy(request, id: id)
        case .rollback(let request): try await rollback(request, id: id)
        case .configure(let request): try await configure(request, id: id)
        case .delete: try await delete(id: id)
        case .place(let decision):
            decision.cause == .failover
                ? try await failOver(decision, id: id) : try await move(decision, id: id)
        }
    }
}

extension ApplicationWorkflow.Request {
    var name: String {
        switch self {
        case .deploy: "deploy"
        case .rollback: "rollback"
        case .configure: "configure"
        case .delete: "delete"
        case .place(let decision): decision.cause == .failover ? "failover" : "move"
        }
    }

    var operation: String {
        switch self {
        case .deploy(let request): request.operation
        case .rollback(let request): request.operation
        case .configure(let request): request.operation
        case .delete(let request): request.operation
        case .place(let decision): decision.operation
        }
    }
}
