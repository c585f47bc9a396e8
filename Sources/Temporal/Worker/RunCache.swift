import Synchronization

/// Keeps runs in memory between their workflow tasks, and lends each to one holder at a time.
final class RunCache: Sendable {
    private struct State {
        var idle: [String: (run: WorkflowRun, stamp: Int)] = [:]
        /// Those lent out, with who waits for them.
        var lent: [String: [CheckedContinuation<WorkflowRun?, Never>]] = [:]
        /// Candidates for eviction, oldest first; those with an old stamp were used since.
        var order: [(id: String, stamp: Int)] = []
        var head = 0
        var lastStamp = 0
    }

    private let state = Mutex(State())
    private let capacity: Int

    init(capacity: Int) { self.capacity = max(0, capacity) }

    var count: Int { state.withLock { $0.idle.count + $0.lent.count } }

    /// Lends a run.
    ///
    /// Each call must be followed by ``giveBack(_:id:)``, also when there is no such run yet.
    func lend(_ id: String) async -> WorkflowRun? {
        if let answer = lend(id, waiter: nil) { return answer }
        return await withCheckedContinuation { continuation in
            if let answer = lend(id, waiter: continuation) { continuation.resume(returning: answer) }
        }
    }

    /// Returns nil when the run is lent out.
    private func lend(_ id: String, waiter: CheckedContinuation<WorkflowRun?, Never>?) -> WorkflowRun?? {
        state.withLock { state in
            if state.lent[id] != nil {
                if let waiter { state.lent[id]?.append(waiter) }
                return nil
            }
            state.lent[id] = []
            return .some(state.idle.removeValue(forKey: id)?.run)
        }
    }

    /// Takes a run back, or nil when it is not to be kept.
    ///
    /// - Returns: Runs that leave memory, to make room.
    func giveBack(_ run: WorkflowRun?, id: String) -> [WorkflowRun] {
        let (next, evicted): (CheckedContinuation<WorkflowRun?, Never>?, [WorkflowRun]) = state.withLock {
            state in
            if state.lent[id]?.isEmpty == false { return (state.lent[id]?.removeFirst(), []) }
            state.lent[id] = nil
            guard let run else { return (nil, []) }
            guard capacity > 0 else { return (nil, [run]) }
            state.lastStamp += 1
            state.idle[id] = (run, state.lastStamp)
            state.order.append((id, state.lastStamp))
            return (nil, Self.makeRoom(&state, capacity))
        }
        next?.resume(returning: run)
        return evicted
    }

    /// Empties the cache.
    func takeAll() -> [WorkflowRun] {
        state.withLock { state in
            defer {
                state.idle = [:]
                state.order = []
                state.head = 0
            }
            return state.idle.values.map(\.run)
        }
    }

    private static func makeRoom(_ state: inout State, _ capacity: Int) -> [WorkflowRun] {
        var evicted: [WorkflowRun] = []
        while state.idle.count > capacity, state.head < state.order.count {
            let candidate = state.order[state.head]
            state.head += 1
            if state.idle[candidate.id]?.stamp == candidate.stamp,
                let entry = state.idle.removeValue(forKey: candidate.id)
            {
                evicted.append(entry.run)
            }
        }
        if state.order.count > 4 * state.idle.count + 64 {
            state.order = state.order[state.head...].filter { state.idle[$0.id]?.stamp == $0.stamp }
            state.head = 0
        }
        return evicted
    }
}
