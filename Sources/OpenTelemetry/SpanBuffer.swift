import Synchronization

/// Ended spans that wait to be sent: bounded, and the newest are dropped when it is full.
package final class SpanBuffer: Sendable {
    private struct State {
        var spans: [RecordedSpan.Ended] = []
        var dropped = 0
    }

    private let state = Mutex(State())
    private let limit: Int
    private let batch: Int
    let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation

    /// - Parameters:
    ///   - limit: spans that wait at most.
    ///   - batch: as many that wait are sent at once.
    package init(limit: Int, batch: Int) {
        self.limit = limit
        self.batch = batch
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func add(_ span: RecordedSpan.Ended) {
        let isFull = state.withLock { state in
            guard state.spans.count < limit else {
                state.dropped += 1
                return false
            }
            state.spans.append(span)
            return state.spans.count == batch
        }
        if isFull { wake() }
    }

    /// Has what waits sent now.
    func wake() { signal.yield() }

    func finish() { signal.finish() }

    /// The oldest spans, at most a batch.
    func take() -> [RecordedSpan.Ended] {
        state.withLock { state in
            let taken = Array(state.spans.prefix(batch))
            state.spans.removeFirst(taken.count)
            return taken
        }
    }

    /// How many were dropped since the last call.
    func takeDropped() -> Int {
        state.withLock { state in
            defer { state.dropped = 0 }
            return state.dropped
        }
    }
}
