public import Logging
public import ServiceLifecycle

import Foundation
import SwiftProtobuf
import Synchronization
import TemporalAPI

/// Runs workflows and activities of a task queue.
///
/// ```swift
/// let worker = Worker(
///     connection: connection, taskQueue: "greetings", workflows: [Greeting.self],
///     activities: [ActivityRegistration(greet) { _, name in "Hello \(name)" }])
/// try await worker.run()
/// ```
///
/// A worker is a service: a graceful shutdown makes it take no more tasks and lets running activities finish within
/// ``WorkerOptions/workerStopTimeout``; cancelling the task of ``run()`` cancels them at once. A process may have several
/// workers, such as one for a shared task queue and one for its own.
public final class Worker: Service, Sendable {
    private let setup: WorkerSetup
    private let workflows: WorkflowTaskHandler?
    private let activities: ActivityTaskHandler?
    private let workflowSlots: Slots
    private let activitySlots: Slots
    private let tasks: AsyncStream<Polled>
    private let feed: AsyncStream<Polled>.Continuation
    private let hasRun = Mutex(false)

    private enum Polled: Sendable {
        case workflow(APIPollWorkflowTaskQueueResponse)
        case activity(APIPollActivityTaskQueueResponse)
    }

    /// Makes a worker, which does nothing before ``run()``.
    ///
    /// - Parameters:
    ///   - connection: The way to the server; it may be shared.
    ///   - taskQueue: The queue whose tasks it takes.
    ///   - workflows: The workflow types that this worker runs; without any it takes no workflow tasks.
    ///   - activities: The activities that it runs, for any workflow of the task queue and as local activities.
    ///   - options: How it works.
    ///   - converter: How values travel.
    ///   - logger: Where it writes; nil for one of its own.
    public init(
        connection: TemporalConnection,
        taskQueue: String,
        workflows: [any Workflow.Type] = [],
        activities: [ActivityRegistration] = [],
        options: WorkerOptions = WorkerOptions(),
        converter: DataConverter = DataConverter(),
        logger: Logger? = nil
    ) {
        let identity = options.identity ?? connection.identity
        var logger = logger ?? Logger(label: "temporal.worker")
        logger[metadataKey: "task_queue"] = "\(taskQueue)"
        let setup = WorkerSetup(
            connection: connection,
            options: options,
            environment: WorkflowEnvironment(
                namespace: connection.namespace,
                taskQueue: taskQueue,
                converter: converter,
                logger: logger,
                logsDuringReplay: options.enableLoggingInReplay,
                failsWorkflow: options.failsWorkflow
            ),
            identity: identity,
            stickyQueue: "\(identity)-\(UUID().uuidString.lowercased())",
            metrics: WorkerMetrics(namespace: connection.namespace, taskQueue: taskQueue)
        )
        self.setup = setup
        workflowSlots = Slots(options.maxConcurrentWorkflowTaskExecutionSize)
        activitySlots = Slots(options.maxConcurrentActivityExecutionSize)
        let (tasks, feed) = AsyncStream<Polled>.makeStream()
        self.tasks = tasks
        self.feed = feed
        let byName = Dictionary(activities.map { ($0.name, $0) }) { $1 }
        let handler = ActivityTaskHandler(setup, activities: byName)
        self.activities = activities.isEmpty ? nil : handler
        // Eager activities do not wait in the task queue, where their rate is limited.
        let isEager =
            !options.disableEagerActivities && !activities.isEmpty
            && options.workerActivitiesPerSecond == nil && options.taskQueueActivitiesPerSecond == nil
        let eager = EagerActivities(handler, slots: activitySlots, taskQueue: taskQueue) {
            feed.yield(.activity($0))
        }
        let locals = LocalActivityRunner(
            byName,
            environment: setup.environment,
            slots: Slots(options.maxConcurrentLocalActivityExecutionSize)
        )
        let registrations = workflows.map { WorkflowRegistration($0) }
        self.workflows =
            workflows.isEmpty
            ? nil
            : WorkflowTaskHandler(
                setup,
                registrations: Dictionary(registrations.map { ($0.name, $0) }) { $1 },
                locals: locals,
                eager: isEager ? eager : nil
            )
    }

    /// The queue whose tasks it takes.
    public var taskQueue: String { setup.environment.taskQueue }

    private var logger: Logger { setup.environment.logger }

    /// How many runs are in memory.
    public var cachedRuns: Int { workflows?.cachedRuns ?? 0 }

    /// Works until a graceful shutdown or until the task is cancelled.
    ///
    /// To be called once.
    public func run() async throws {
        let isFirst = hasRun.withLock { hasRun in
            defer { hasRun = true }
            return !hasRun
        }
        guard isFirst else { throw WorkflowTaskError("a worker runs once; make another one") }
        logger.info(
            "worker started",
            metadata: ["workflows": "\(workflows != nil)", "activities": "\(activities != nil)"]
        )
        // Workflow code and activities run on other threads than the connection's; all between them does not.
        await withTaskExecutorPreference(setup.connection.executor) { await work() }
        await sayGoodbye()
        workflows?.stop()
        logger.info("worker stopped")
    }

    @concurrent
    private func work() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await self.poll()
                self.feed.finish()
                // Cancelled as soon as the last execution has ended.
                try? await Task.sleep(for: self.setup.options.workerStopTimeout)
                if !Task.isCancelled { self.activities?.cancelAll() }
            }
            await withDiscardingTaskGroup { executions in
                for await task in tasks { executions.addTask { await self.execute(task) } }
            }
            group.cancelAll()
        }
    }

    private func execute(_ task: Polled) async {
        switch task {
        case .workflow(let task):
            defer { workflowSlots.release() }
            await workflows?.handle(task)
        case .activity(let task):
            defer { activitySlots.release() }
            await activities?.handle(task)
        }
    }

    /// Tells the server not to wait for this worker with tasks of its sticky queue.
    private func sayGoodbye() async {
        guard let workflows, workflows.isSticky else { return }
        let request = APIShutdownWorkerRequest.with {
            $0.stickyTaskQueue = setup.stickyQueue
            $0.identity = setup.identity
            $0.reason = "the worker stops"
        }
        // Also when this task was cancelled; short, and only to save others a wait.
        await Task {
            let _: APIShutdownWorkerResponse? = try? await self.setup.connection.call(
                request,
                timeout: .seconds(2),
                retry: .none
            )
        }.value
    }

    // MARK: Polling

    private func poll() async {
        await withTaskGroup(of: Void.self) { group in
            if let workflows {
                let count = max(setup.options.maxConcurrentWorkflowTaskPollers, workflows.isSticky ? 2 : 1)
                for index in 0..<count {
                    let isSticky = workflows.isSticky && index % 2 == 1
                    group.addTask {
                        await self.pollWorkflows(isSticky ? workflows.stickyTaskQueue : self.queue)
                    }
                }
            }
            if activities != nil {
                let limiter = setup.options.workerActivitiesPerSecond.map { RateLimiter(perSecond: $0) }
                for _ in 0..<max(1, setup.options.maxConcurrentActivityTaskPollers) {
                    group.addTask { await self.pollActivities(limiter) }
                }
            }
            // Returns at a graceful shutdown, and throws when the task is cancelled: both end the polls.
            try? await gracefulShutdown()
            group.cancelAll()
        }
    }

    private var queue: APITaskQueue {
        .with {
            $0.name = taskQueue
            $0.kind = .normal
        }
    }

    private func pollWorkflows(_ queue: APITaskQueue) async {
        let request = APIPollWorkflowTaskQueueRequest.with {
            $0.identity = setup.identity
            $0.taskQueue = queue
        }
        await pollLoop("workflow", slots: workflowSlots) {
            let task = try await self.setup.connection.call(request, timeout: .seconds(70), retry: .none)
            guard !task.taskToken.isEmpty else { return false }
            self.feed.yield(.workflow(task))
            return true
        }
    }

    private func pollActivities(_ limiter: RateLimiter?) async {
        let request = APIPollActivityTaskQueueRequest.with {
            $0.identity = setup.identity
            $0.taskQueue = queue
            if let limit = setup.options.taskQueueActivitiesPerSecond {
                $0.taskQueueMetadata.maxTasksPerSecond = Google_Protobuf_DoubleValue(limit)
            }
        }
        await pollLoop("activity", slots: activitySlots) {
            let task = try await self.setup.connection.call(request, timeout: .seconds(70), retry: .none)
            guard !task.taskToken.isEmpty else { return false }
            // A task that the server has handed out is run at once when the worker stops.
            try? await limiter?.wait()
            self.feed.yield(.activity(task))
            return true
        }
    }

    /// Polls again and again; waits longer and longer while the server cannot be reached.
    private func pollLoop(
        _ kind: String,
        slots: Slots,
        _ poll: () async throws -> Bool
    ) async {
        var failures = 0
        while !Task.isCancelled {
            do {
                try await slots.acquire()
                var isTaken = false
                defer { if !isTaken { slots.release() } }
                isTaken = try await poll()
                failures = 0
                setup.metrics.polled(kind, found: isTaken)
            } catch {
                if Task.isCancelled { return }
                guard (error as? RPCError)?.code != .deadlineExceeded else { continue }
                failures += 1
                let level: Logger.Level = failures == 1 || failures % 20 == 0 ? .warning : .debug
                logger.log(
                    level: level,
                    "poll failed, will be tried again",
                    metadata: ["tasks": "\(kind)", "error": "\(error)", "failures": "\(failures)"]
                )
                let wait = min(0.1 * Double(1 << min(failures, 6)), 5) * Double.random(in: 0.5...1)
                try? await Task.sleep(for: .seconds(wait))
            }
        }
    }
}
