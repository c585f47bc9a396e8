import Proxy
import Synchronization

/// Where the requests of one app go at this moment.
///
/// Loops read it for every request; the daemon alone changes it.
final class RouteCell: Sendable {
    /// Under which requests are held while no worker serves.
    let waiting: App
    /// Requests that went to a worker since the daemon started.
    let requests = Atomic<Int>(0)
    /// When the last request came or ended, in nanoseconds of the monotonic clock.
    let lastActivity = Atomic<UInt64>(0)

    private struct State {
        var decision: RouteDecision
        /// A request has been held since the app last served, and the daemon was told.
        var isWanted = false
        /// For an answer that tells why a worker failed a request.
        var explain: (@Sendable (UpstreamFailure) -> ReadyAnswer?)?
    }

    private let state: Mutex<State>

    init(waiting: App) {
        self.waiting = waiting
        state = Mutex(State(decision: .hold(waiting)))
    }

    /// Requests are held and wake the app.
    ///
    /// Returns whether one is waiting already.
    func hold() -> Bool {
        state.withLock { state in
            state.decision = .hold(waiting)
            return state.isWanted
        }
    }

    func forward(to upstream: Upstream, explain: @escaping @Sendable (UpstreamFailure) -> ReadyAnswer?) {
        state.withLock { $0 = State(decision: .forward(upstream), explain: explain) }
    }

    func respond(_ answer: ReadyAnswer) {
        state.withLock { $0 = State(decision: .respond(answer, waiting)) }
    }

    /// Requests that are held now are being answered: the next one is news again.
    func forgetWanted() { state.withLock { $0.isWanted = false } }

    /// For a request: where it goes, and whether the daemon must be told.
    func route() -> (decision: RouteDecision, isNews: Bool) {
        state.withLock { state in
            guard case .hold = state.decision, !state.isWanted else { return (state.decision, false) }
            state.isWanted = true
            return (state.decision, true)
        }
    }

    /// A request that reached no worker is held.
    ///
    /// Returns whether the daemon must be told.
    func holdFailed() -> Bool {
        state.withLock { state in
            defer { state.isWanted = true }
            return !state.isWanted
        }
    }

    /// Why the worker failed a request, where that can be told.
    func explanation(_ failure: UpstreamFailure) -> ReadyAnswer? { state.withLock(\.explain)?(failure) }
}
