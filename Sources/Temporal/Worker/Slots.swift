import Synchronization

/// A number of places; who finds none waits in line.
package final class Slots: Sendable {
    private struct State {
        var free: Int
        var waiters: [(id: Int, continuation: CheckedContinuation<Bool, Never>)] = []
        var lastID = 0
        var cancelled: Set<Int> = []
    }

    private let state: Mutex<State>
    let count: Int

    package init(_ count: Int) {
        self.count = max(1, count)
        state = Mutex(State(free: max(1, count)))
    }

    var used: Int { state.withLock { count - $0.free } }

    /// Takes a place, waiting for one if need be.
    ///
    /// - Throws: `CancellationError` when the task was cancelled while it waited.
    package func acquire() async throws {
        if tryAcquire() { return }
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        let isGranted = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Bool? = state.withLock { state in
                    if state.cancelled.remove(id) != nil { return false }
                    guard state.free > 0 else {
                        state.waiters.append((id, continuation))
                        return nil
                    }
                    state.free -= 1
                    return true
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiter: CheckedContinuation<Bool, Never>? = state.withLock { state in
                guard let index = state.waiters.firstIndex(where: { $0.id == id }) else {
                    state.cancelled.insert(id)
                    return nil
                }
                return state.waiters.remove(at: index).continuation
            }
            waiter?.resume(returning: false)
        }
        state.withLock { _ = $0.cancelled.remove(id) }
        guard isGranted else { throw CancellationError() }
    }

    /// Takes a place if one is free.
    func tryAcquire() -> Bool {
        state.withLock { state in
            guard state.free > 0 else { return false }
            state.free -= 1
            return true
        }
    }

    package func release() {
        let next: CheckedContinuation<Bool, Never>? = state.withLock { state in
            guard !state.waiters.isEmpty else {
                state.free += 1
                return nil
            }
            return state.waiters.removeFirst().continuation
        }
        next?.resume(returning: true)
    }
}

/// Lets a number of things happen per second, evenly.
actor RateLimiter {
    private let interval: Duration
    private var next = ContinuousClock.now

    init(perSecond: Double) {
        interval = .seconds(1 / max(perSecond, 0.001))
    }

    /// Waits for its turn.
    func wait() async throws {
        let now = ContinuousClock.now
        let turn = max(next, now)
        next = turn + interval
        if turn > now { try await Task.sleep(until: turn) }
    }
}
