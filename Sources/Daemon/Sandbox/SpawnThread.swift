import Foundation
import Synchronization

/// The thread that starts all child processes, one after the other, and never ends.
final class SpawnThread: Sendable {
    static let shared = SpawnThread()

    private let condition = NSCondition()
    // Touched with `condition` locked alone.
    private nonisolated(unsafe) var jobs: [@Sendable () -> Void] = []

    private init() {
        let thread = Thread { [self] in
            while true { next()() }
        }
        thread.name = "spawn"
        thread.start()
    }

    /// Runs `body` on the thread and waits for it: a start takes about a millisecond.
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

    private func next() -> @Sendable () -> Void {
        condition.lock()
        defer { condition.unlock() }
        while jobs.isEmpty { condition.wait() }
        return jobs.removeFirst()
    }
}
