import Synchronization
import TemporalAPI

/// Passes an activity's signs of life on, no faster than the server needs them.
///
/// The first goes out at once; after it the latest is kept until the interval is over.
final class Heartbeater: Sendable {
    private struct State {
        var latest: [APIPayload]?
        var isWaiting = false
        var isEnded = false
        var sender: Task<Void, Never>?
    }

    private let state = Mutex(State())
    private let interval: Duration
    private let send: @Sendable ([APIPayload]) async -> Void

    /// `send`: tells the server, and deals with its answer.
    init(interval: Duration, send: @escaping @Sendable ([APIPayload]) async -> Void) {
        self.interval = interval
        self.send = send
    }

    /// The interval for an activity: most of its heartbeat timeout, within the worker's limits.
    static func interval(timeout: Duration?, default: Duration, maximum: Duration) -> Duration {
        min(timeout.map { $0 * 0.8 } ?? `default`, maximum)
    }

    func beat(_ details: [APIPayload]) {
        state.withLock { state in
            guard !state.isEnded else { return }
            state.latest = details
            guard !state.isWaiting else { return }
            state.isWaiting = true
            // Not a child task: it belongs to the activity, not to the call. `end()` waits for it.
            state.sender = Task { await self.sendLatest() }
        }
    }

    private func sendLatest() async {
        while let details = takeLatest() {
            await send(details)
            // Cancelled when the activity has ended.
            try? await Task.sleep(for: interval)
        }
    }

    private func takeLatest() -> [APIPayload]? {
        state.withLock { state in
            defer { state.latest = nil }
            if state.latest == nil || state.isEnded { state.isWaiting = false }
            return state.isEnded ? nil : state.latest
        }
    }

    /// Ends it.
    ///
    /// Returns the details that were not sent yet.
    func end() async -> [APIPayload]? {
        let (latest, sender) = state.withLock { state in
            state.isEnded = true
            defer { state.sender = nil }
            return (state.latest, state.sender)
        }
        sender?.cancel()
        await sender?.value
        return latest
    }
}
