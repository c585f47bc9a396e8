import Foundation
import Synchronization

/// A thread that does one job after the other and never ends.
///
/// Some calls of the kernel are about the thread that makes them: which network it is in, and whose child a program is.
final class JobThread: Sendable {
    /// Starts all child processes: a child that is to end with its parent ends with the thread that started it.
    static let spawn = JobThread(name: "spawn")

    private let condition = NSCondition()
    // Touched with `condition` locked alone.
    private nonisolated(unsafe) var jobs: [@Sendable () -> Void] = []
    private nonisolated(unsafe) var isEnding = false

    init(name: String) {
        let thread = Thread { [self] in
            while let job = next() { job() }
        }
        thread.name = name
        thread.start()
    }

    /// Runs `body` on the thread and waits for it; for calls that take about a millisecond.
    func run<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value {
        let result = Mutex<Value?>(nil)
        let done = DispatchSemaphore(value: 0)
        condition.lock()
        jobs.append {
            let value = body()
            result.withLock { $0 = value }
            done.signal()
        }
        condition.signal()
        condition.unlock()
        while true {
            done.wait()
            if let value = result.withLock({ $0 }) { return value }
        }
    }

    @discardableResult
    func perform<Value: Sendable>(
        _ body: @escaping @Sendable () throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        let result: Result<Value, SystemError> = run {
            do throws(SystemError) { return .success(try body()) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// Lets the thread end once it has done what it was given.
    func end() {
        condition.lock()
        isEnding = true
        condition.signal()
        condition.unlock()
    }

    private func next() -> (@Sendable () -> Void)? {
        condition.lock()
        defer { condition.unlock() }
        while jobs.isEmpty {
            if isEnding { return nil }
            condition.wait()
        }
        return jobs.removeFirst()
    }
}
