import Synchronization

/// A value that arrives once and for which any number of tasks may wait.
package final class Once<Value: Sendable>: Sendable {
    private enum State {
        case waiting([Int: CheckedContinuation<Value?, Never>], next: Int)
        case arrived(Value)
    }

    private let state = Mutex(State.waiting([:], next: 0))

    package init() {}

    package var value: Value? {
        state.withLock { if case .arrived(let value) = $0 { value } else { nil } }
    }

    /// Sets the value; only the first counts.
    ///
    /// Returns whether this one did.
    @discardableResult
    package func set(_ value: Value) -> Bool {
        let waiting: [CheckedContinuation<Value?, Never>]? = state.withLock { state in
            guard case .waiting(let continuations, _) = state else { return nil }
            state = .arrived(value)
            return Array(continuations.values)
        }
        guard let waiting else { return false }
        for continuation in waiting { continuation.resume(returning: value) }
        return true
    }

    /// Waits for the value; nil when the task was cancelled first.
    package func wait() async -> Value? {
        let key = state.withLock { state -> Int in
            guard case .waiting(let continuations, let next) = state else { return 0 }
            state = .waiting(continuations, next: next + 1)
            return next
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready: Value?? = state.withLock { state in
                    switch state {
                    case .arrived(let value): return .some(value)
                    case .waiting(var continuations, let next):
                        if Task.isCancelled { return .some(nil) }
                        continuations[key] = continuation
                        state = .waiting(continuations, next: next)
                        return nil
                    }
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            let continuation: CheckedContinuation<Value?, Never>? = state.withLock { state in
                guard case .waiting(var continuations, let next) = state else { return nil }
                let continuation = continuations.removeValue(forKey: key)
                state = .waiting(continuations, next: next)
                return continuation
            }
            continuation?.resume(returning: nil)
        }
    }

    /// Waits at most this long; nil when the time passed or the task was cancelled.
    package func wait(atMost time: Duration) async -> Value? {
        if let value { return value }
        return await withTaskGroup(of: Value?.self) { group in
            group.addTask { await self.wait() }
            group.addTask {
                try? await Task.sleep(for: time)  // Cancelled when the value came first.
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first ?? self.value
        }
    }
}
