import Foundation
import Synchronization

/// Tells which task a job belongs to, so that a task that hops between functions keeps running.
@_silgen_name("swift_task_getJobTaskId")
private func jobTaskID(_ job: UnownedJob) -> UInt64

/// Runs the Swift code of one workflow run, deterministically.
///
/// It is both the serial executor of the workflow actor and the preferred executor of every task below it, so that
/// nonisolated functions, `async let` and task groups stay on it. Jobs are buffered and run only while a thread drains
/// the executor: first the task that ran last (when it only changed functions), then in order of arrival. A job that
/// arrives from any other thread means that workflow code waited for something that history does not record; such jobs
/// are counted and kept, not run.
package final class WorkflowExecutor: SerialExecutor, TaskExecutor {
    private struct Job {
        let task: UInt64
        let job: UnownedJob
    }

    private struct State {
        var queue: [Job] = []
        var head = 0
        /// The next job of the task that runs now.
        var continuation: Job?
        var runningTask: UInt64 = 0
        var thread: pthread_t?
        /// The names of threads that woke the workflow from outside.
        var foreign: [String] = []
        var onForeign: (@Sendable () -> Void)?

        mutating func next() -> Job? {
            if let job = continuation {
                continuation = nil
                return job
            }
            guard head < queue.count else { return nil }
            let job = queue[head]
            head += 1
            if head == queue.count {
                queue.removeAll(keepingCapacity: queue.count <= 64)
                head = 0
            }
            return job
        }
    }

    private let state = Mutex(State())

    package init() {}

    package func enqueue(_ job: consuming ExecutorJob) {
        let unowned = UnownedJob(job)
        let entry = Job(task: jobTaskID(unowned), job: unowned)
        let notify: (@Sendable () -> Void)? = state.withLock { state in
            let isInside = state.thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false
            if isInside, entry.task == state.runningTask, state.continuation == nil {
                state.continuation = entry
                return nil
            }
            state.queue.append(entry)
            guard !isInside else { return nil }
            if state.foreign.count < 8 { state.foreign.append(threadName()) }
            return state.onForeign
        }
        notify?()
    }

    package func checkIsolated() {
        precondition(isCurrent, "this code must run in its workflow")
    }

    package func isIsolatingCurrentContext() -> Bool? {
        isCurrent
    }

    /// Whether the caller runs inside ``scope(_:)`` or ``drain(limit:)``.
    package var isCurrent: Bool {
        state.withLock { state in state.thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false }
    }

    /// The threads that woke the workflow from outside since the last call.
    package func takeForeignWakeUps() -> [String] {
        state.withLock { state in
            defer { state.foreign = [] }
            return state.foreign
        }
    }

    /// Calls `action` when a job arrives from outside; used to unwind runs that were let go.
    package func onForeignWakeUp(_ action: @escaping @Sendable () -> Void) {
        state.withLock { $0.onForeign = action }
    }

    /// Runs `body` as part of the workflow: what it resumes or spawns is enqueued, not foreign.
    package func scope<Result>(_ body: () throws -> Result) rethrows -> Result {
        let previous = state.withLock { state in
            defer { state.thread = pthread_self() }
            return state.thread
        }
        defer { state.withLock { $0.thread = previous } }
        return try body()
    }

    /// Runs jobs until none is left.
    ///
    /// - Returns: How many ran, or nil when there were more than `limit`.
    package func drain(limit: Int) -> Int? {
        scope {
            var count = 0
            while true {
                let next = state.withLock { state in
                    let next = state.next()
                    state.runningTask = next?.task ?? 0
                    return next
                }
                guard let next else { return count }
                guard count < limit else {
                    state.withLock { $0.continuation = next }
                    return nil
                }
                count += 1
                next.job.runSynchronously(
                    isolatedTo: asUnownedSerialExecutor(),
                    taskExecutor: asUnownedTaskExecutor()
                )
            }
        }
    }
}

private func threadName() -> String {
    #if os(Linux)
    let name = try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
    return name?.trimmingCharacters(in: .whitespacesAndNewlines) ?? "another thread"
    #else
    return Thread.current.name ?? "another thread"
    #endif
}
