import Foundation
import Synchronization

/// The threads that run workflow code, and the watchdog that gives up on those that block.
///
/// They are threads of our own: on Linux, Dispatch and Swift's own pool share as many threads as there are cores, so
/// that two spinning workflows would stop the whole process. A thread whose job takes longer than its limit is left
/// behind, at the lowest priority, and replaced; when its job ends after all it tells so and exits.
///
/// `@unchecked Sendable`: the stored state is touched only with `condition` locked.
package final class WorkflowThreads: @unchecked Sendable {
    private struct Job {
        let limit: Duration
        let run: () -> Void
        let onOverdue: () -> Void
        let onLateEnd: () -> Void
    }

    private struct Running {
        let deadline: ContinuousClock.Instant
        let thread: Int32
        let job: Job
    }

    private let condition = NSCondition()
    private let watchCondition = NSCondition()
    private var queue: [Job] = []
    private var running: [Int: Running] = [:]
    private var lastTicket = 0
    private var idleThreads = 0
    private var threadCount = 0
    private var leftBehind = 0
    private var isStopped = false
    private let size: Int

    /// - Parameter size: How many jobs may run at a time; threads start when they are needed.
    package init(size: Int) {
        self.size = max(1, size)
        let watchdog = Thread { [weak self] in
            while let wait = self?.watch() { Thread.sleep(forTimeInterval: wait) }
        }
        watchdog.name = "wf-watchdog"
        watchdog.start()
    }

    /// Threads that were left behind and still run.
    package var overdueThreads: Int {
        condition.withLock { leftBehind }
    }

    /// Ends the threads when their jobs are done.
    ///
    /// Jobs in the queue still run.
    package func stop() {
        condition.withLock {
            isStopped = true
            condition.broadcast()
        }
    }

    /// Runs `body` on one of the threads.
    ///
    /// `onLateEnd`: called when `body` ends after it was given up.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws, or ``DeadlockError`` when it took longer than `limit`.
    package func run<Result: Sendable>(
        limit: Duration,
        onLateEnd: @escaping @Sendable () -> Void = {},
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        // Unsafe, because a checked one costs an allocation; ``Once`` resumes it once.
        try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Result, any Error>) in
            let answer = Once(continuation)
            let job = Job(
                limit: limit,
                run: {
                    let result = Swift.Result { try body() }
                    answer.take()?.resume(with: result)
                },
                onOverdue: { answer.take()?.resume(throwing: DeadlockError(limit: limit)) },
                onLateEnd: onLateEnd
            )
            condition.withLock {
                queue.append(job)
                if idleThreads == 0, threadCount < size { spawn() }
            }
            // With the lock free: the thread that wakes would only wait for it.
            condition.signal()
        }
    }

    /// Starts a thread; called with `condition` locked.
    private func spawn() {
        threadCount += 1
        let thread = Thread { [self] in loop() }
        thread.stackSize = 1 << 20
        thread.name = "workflow"
        thread.start()
    }

    private func loop() {
        let thread = currentThreadID()
        condition.lock()
        while true {
            while queue.isEmpty, !isStopped {
                idleThreads += 1
                condition.wait()
                idleThreads -= 1
            }
            guard !queue.isEmpty else { break }
            let job = queue.removeFirst()
            lastTicket += 1
            let ticket = lastTicket
            running[ticket] = Running(deadline: .now + job.limit, thread: thread, job: job)
            condition.unlock()
            autoreleasepool { job.run() }
            condition.lock()
            if running.removeValue(forKey: ticket) == nil {
                leftBehind -= 1
                condition.unlock()
                job.onLateEnd()
                return
            }
        }
        threadCount -= 1
        condition.unlock()
    }

    /// Gives up on overdue jobs.
    ///
    /// Returns how long to wait before the next look, or nil to end.
    private func watch() -> TimeInterval? {
        let now = ContinuousClock.now
        condition.lock()
        let late = running.filter { $0.value.deadline < now }
        for (ticket, overdue) in late {
            running[ticket] = nil
            leftBehind += 1
            threadCount -= 1
            lowerPriority(of: overdue.thread)
            if !queue.isEmpty { spawn() }
        }
        let ends = isStopped && running.isEmpty && queue.isEmpty
        let nearest = running.values.map(\.deadline).min()
        condition.unlock()
        for overdue in late.values { overdue.job.onOverdue() }
        if ends { return nil }
        // Jobs are short: a job that starts while the watchdog sleeps is seen soon enough.
        guard let nearest else { return 0.25 }
        return min(max(nearest.duration(to: now).magnitudeInSeconds, 0.01), 0.25)
    }
}

/// Workflow code kept its thread for longer than the worker's deadlock detection timeout.
package struct DeadlockError: Error, CustomStringConvertible {
    package let limit: Duration

    package var description: String {
        "potential deadlock: the workflow did not give its thread back within \(limit); "
            + "workflow code must not block, loop without end, or do I/O"
    }
}

/// A continuation that the first of several callers resumes.
final class Once<Value: Sendable>: Sendable {
    private let continuation: Mutex<UnsafeContinuation<Value, any Error>?>

    init(_ continuation: UnsafeContinuation<Value, any Error>) {
        self.continuation = Mutex(continuation)
    }

    func take() -> UnsafeContinuation<Value, any Error>? {
        continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
    }
}

extension Duration {
    fileprivate var magnitudeInSeconds: Double {
        abs(Double(components.seconds) + Double(components.attoseconds) / 1e18)
    }
}

#if os(Linux)
private func autoreleasepool(_ body: () -> Void) { body() }

/// The link reads like `1234/task/1240`.
private func currentThreadID() -> Int32 {
    let link = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")
    return link.flatMap { $0.split(separator: "/").last }.flatMap { Int32($0) } ?? 0
}

/// Linux gives each thread a nice value of its own.
private func lowerPriority(of thread: Int32) {
    guard thread > 0 else { return }
    _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), id_t(thread), 19)
}
#else
private func currentThreadID() -> Int32 { 0 }
private func lowerPriority(of thread: Int32) {}
#endif
