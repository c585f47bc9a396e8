import Foundation
import Logging
import SwiftProtobuf
import Synchronization
import TemporalAPI

/// Answers workflow tasks: finds or rebuilds the run, lets its code go on, and tells the server what it wants.
final class WorkflowTaskHandler: Sendable {
    private let setup: WorkerSetup
    private let registrations: [String: WorkflowRegistration]
    let localActivities: LocalActivityRunner
    private let eager: EagerActivities?
    private let cache: RunCache
    private let threads: WorkflowThreads
    private let logger: Logger
    /// Runs whose code holds a thread of this process, and must not take another.
    private let stuck = Mutex<Set<String>>([])

    init(
        _ setup: WorkerSetup,
        registrations: [String: WorkflowRegistration],
        locals: LocalActivityRunner,
        eager: EagerActivities?
    ) {
        self.setup = setup
        self.registrations = registrations
        localActivities = locals
        self.eager = eager
        cache = RunCache(capacity: setup.options.stickyWorkflowCacheSize)
        threads = WorkflowThreads(size: setup.options.workflowThreads)
        logger = setup.environment.logger
    }

    var isSticky: Bool { setup.options.stickyWorkflowCacheSize > 0 }
    var cachedRuns: Int { cache.count }

    /// Lets all runs go and ends the threads.
    func stop() {
        for run in cache.takeAll() { retire(run) }
        threads.stop()
    }

    /// Answers a task, and those that the server hands out in return.
    func handle(_ task: APIPollWorkflowTaskQueueResponse) async {
        let id = task.workflowExecution.runID
        if stuck.withLock({ $0.contains(id) }) {
            // The task times out at the server, which then waits before it tries again.
            logger.warning(
                "workflow task left alone: the run's code still blocks a thread",
                metadata: describe(task)
            )
            return
        }
        var run = await cache.lend(id)
        var next: APIPollWorkflowTaskQueueResponse? = task
        while let task = next {
            let started = ContinuousClock.now
            do {
                next = try await answer(task, &run)
                setup.metrics.workflowTask(task.workflowType.name, took: .now - started)
            } catch {
                next = nil
                if let failed = run {
                    run = nil
                    if error is DeadlockError { isolate(failed) } else { retire(failed) }
                }
                await fail(task, with: error)
            }
            if let done = run, done.isComplete {
                run = nil
                retire(done)
            }
        }
        for evicted in cache.giveBack(run, id: id) { retire(evicted) }
        setup.metrics.cache(cache.count)
    }

    // MARK: One task

    private func answer(
        _ task: APIPollWorkflowTaskQueueResponse,
        _ cached: inout WorkflowRun?
    ) async throws -> APIPollWorkflowTaskQueueResponse? {
        let (run, events) = try await rebuild(task, cached)
        cached = run
        if task.hasQuery {
            try await work(run) { try run.process(events: events, isLive: false) }
            try await answerQuery(task, result(of: task.query, run))
            return nil
        }
        let messages = try await setup.environment.converter.decode(messages: task.messages)
        try await work(run) { try run.process(events: events, messages: messages) }
        return try await LocalActivityPhase(handler: self, run: run, task: task).complete()
    }

    /// The run of a task, and the events that it has not seen.
    private func rebuild(
        _ task: APIPollWorkflowTaskQueueResponse,
        _ cached: WorkflowRun?
    ) async throws -> (WorkflowRun, [APIHistoryEvent]) {
        var events = task.history.events
        var token = task.nextPageToken
        var run = cached
        let first = events.first?.eventID
        if let cached, let first, first > cached.handledUpTo + 1 {
            retire(cached)
            run = nil
        }
        setup.metrics.lookUp(hit: run != nil, isNew: task.previousStartedEventID == 0)
        if run == nil, first != 1 {
            events = []
            token = Data()
            repeat { events += try await page(task, &token) } while !token.isEmpty
        } else {
            while !token.isEmpty { events += try await page(task, &token) }
        }
        events = try await setup.environment.converter.decode(events: events)
        if let run { return (run, events) }
        guard let registration = registrations[task.workflowType.name] else {
            let error = ApplicationFailure.unknown(
                "workflow type",
                task.workflowType.name,
                registrations.keys
            )
            throw WorkflowTaskError(error.message)
        }
        let fresh = WorkflowRun(
            registration,
            workflowID: task.workflowExecution.workflowID,
            runID: task.workflowExecution.runID,
            environment: setup.environment
        )
        return (fresh, events)
    }

    private func page(
        _ task: APIPollWorkflowTaskQueueResponse,
        _ token: inout Data
    ) async throws -> [APIHistoryEvent] {
        let request = APIGetWorkflowExecutionHistoryRequest.with {
            $0.execution = task.workflowExecution
            $0.nextPageToken = token
        }
        let response = try await setup.connection.call(request)
        token = response.nextPageToken
        return response.history.events
    }

    /// Runs workflow code on a thread, under the eyes of the watchdog.
    func work<Result: Sendable>(
        _ run: WorkflowRun,
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        let id = run.runID
        return try await threads.run(
            limit: setup.options.deadlockDetectionTimeout,
            onLateEnd: { [weak self] in
                self?.stuck.withLock { _ = $0.remove(id) }
                self?.retire(run)
            },
            body
        )
    }

    /// Tells the server what the workflow wants.
    ///
    /// `isHeartbeat`: whether the workflow still works on the task, and another is wanted at once.
    /// - Returns: The workflow's next task, if the server has one.
    /// - Throws: ``RPCError`` when the server did not take the answer.
    func complete(
        _ task: APIPollWorkflowTaskQueueResponse,
        _ run: WorkflowRun,
        isHeartbeat: Bool
    ) async throws -> APIPollWorkflowTaskQueueResponse? {
        var (commands, messages) = run.takeCommands()
        let places = EagerActivities.reserve(&commands, eager)
        var eagerTasks: [APIPollActivityTaskQueueResponse] = []
        defer { eager?.start(eagerTasks, reserved: places) }
        commands = try await setup.environment.converter.encode(commands: commands)
        messages = try await setup.environment.converter.encode(messages: messages)
        var results: [String: APIWorkflowQueryResult] = [:]
        for (id, query) in task.queries { results[id] = try await result(of: query, run) }
        let request = APIRespondWorkflowTaskCompletedRequest.with {
            $0.identity = setup.identity
            $0.taskToken = task.taskToken
            $0.commands = commands
            $0.messages = messages
            $0.queryResults = results
            $0.returnNewWorkflowTask = true
            $0.forceCreateNewWorkflowTask = isHeartbeat
            $0.capabilities.discardSpeculativeWorkflowTaskWithEvents = true
            if run.libraryName != TemporalLibrary.workerName {
                $0.sdkMetadata = TemporalLibrary.workerMetadata
            }
            if isSticky {
                $0.stickyAttributes = .with {
                    $0.workerTaskQueue = stickyTaskQueue
                    $0.scheduleToStartTimeout = .init(rounding: setup.options.stickyScheduleToStartTimeout)
                }
            }
        }
        let response = try await setup.connection.call(request)
        run.resetHistory(to: response.resetHistoryEventID)
        eagerTasks = response.activityTasks
        if run.isComplete { setup.metrics.workflowEnded(run.registration.name, with: commands.last) }
        return response.hasWorkflowTask && !response.workflowTask.taskToken.isEmpty
            ? response.workflowTask : nil
    }

    var stickyTaskQueue: APITaskQueue {
        .with {
            $0.name = setup.stickyQueue
            $0.kind = .sticky
            $0.normalName = setup.environment.taskQueue
        }
    }

    // MARK: Queries

    private func result(of query: APIWorkflowQuery, _ run: WorkflowRun) async throws -> APIWorkflowQueryResult
    {
        do {
            let query = try await setup.environment.converter.decode(query: query)
            let answer = try await work(run) { try run.answer(query) }
            let encoded = try await setup.environment.converter.encode([answer])
            return .with {
                $0.resultType = .answered
                $0.answer = APIPayloads(encoded)
            }
        } catch  where !(error is DeadlockError) {
            return try await failed(error)
        }
    }

    private func failed(_ error: any Error) async throws -> APIWorkflowQueryResult {
        let failure = try await setup.environment.converter.failure(of: error)
        return .with {
            $0.resultType = .failed
            $0.errorMessage = failure.message
            $0.failure = failure
        }
    }

    private func answerQuery(
        _ task: APIPollWorkflowTaskQueueResponse,
        _ result: APIWorkflowQueryResult
    ) async throws {
        let request = APIRespondQueryTaskCompletedRequest.with {
            $0.taskToken = task.taskToken
            $0.completedType = result.resultType
            $0.queryResult = result.answer
            $0.errorMessage = result.errorMessage
            if result.hasFailure { $0.failure = result.failure }
        }
        _ = try await setup.connection.call(request)
    }

    // MARK: Failures

    private func fail(_ task: APIPollWorkflowTaskQueueResponse, with error: any Error) async {
        if error is CancellationError { return }
        setup.metrics.workflowTaskFailed(task.workflowType.name)
        var metadata = describe(task)
        metadata["error"] = "\(error)"
        if error is RPCError {
            // The server has not got the answer, or not wanted it: it hands the task out again.
            logger.warning("workflow task could not be answered", metadata: metadata)
            return
        }
        logger.error("workflow task failed", metadata: metadata)
        do {
            if task.hasQuery { return try await answerQuery(task, failed(error)) }
            // Later attempts time out instead, so that the server waits longer and longer between them.
            guard task.attempt <= 1 else { return }
            let failure = try await setup.environment.converter.failure(of: error)
            let request = APIRespondWorkflowTaskFailedRequest.with {
                $0.identity = setup.identity
                $0.taskToken = task.taskToken
                $0.cause =
                    error is NondeterminismError ? .nonDeterministicError : .workflowWorkerUnhandledFailure
                $0.failure = failure
            }
            _ = try await setup.connection.call(request)
        } catch {
            logger.warning("the server was not told of a failed task", metadata: ["error": "\(error)"])
        }
    }

    private func describe(_ task: APIPollWorkflowTaskQueueResponse) -> Logger.Metadata {
        [
            "workflow_type": "\(task.workflowType.name)",
            "workflow_id": "\(task.workflowExecution.workflowID)",
            "run_id": "\(task.workflowExecution.runID)", "attempt": "\(task.attempt)",
        ]
    }

    /// Remembers that a run's code blocks a thread.
    private func isolate(_ run: WorkflowRun) {
        stuck.withLock { _ = $0.insert(run.runID) }
    }

    /// Lets a run go, on a workflow thread: its tasks unwind there.
    private func retire(_ run: WorkflowRun) {
        let threads = threads
        let limit = setup.options.deadlockDetectionTimeout
        let unwind: @Sendable (@escaping @Sendable () -> Void) -> Void = { work in
            // Nobody waits for it.
            Task { try? await threads.run(limit: limit, work) }
        }
        if run.isAtRest { run.evict(later: unwind) } else { unwind { run.evict(later: unwind) } }
    }
}

extension TemporalLibrary {
    /// How histories call this library.
    static let workerName = "temporal-martlet"

    /// Tells other SDKs which rules a history follows: identifiers are checked, patches are indexed, and the command
    /// that ends a run comes last.
    static let workerMetadata = APIWorkflowTaskCompletedMetadata.with {
        $0.sdkName = workerName
        $0.sdkVersion = version
        $0.coreUsedFlags = [1, 2, 3]
    }
}
