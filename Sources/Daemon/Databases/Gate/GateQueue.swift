/// Those who wait at a gate, in rounds.
///
/// ```
///            join: begin                      join: wait
///   open ───────────────────► round(running) ◄──────┐
///    ▲                          │        │ └────────┘
///    └──────────────────────────┘        └──► the next round, with all who joined meanwhile
///       nobody joined meanwhile
/// ```
/// A round confirms what was committed before it began. So who joins while one runs waits for the next.
struct GateQueue<Waiter: Sendable>: Sendable {
    enum Joined: Equatable {
        /// The caller starts the rounds.
        case begin
        case wait
        /// Too many wait already.
        case refused
    }

    private var waiting: [Waiter] = []
    private var isRunning = false
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    mutating func join(_ waiter: Waiter) -> Joined {
        guard waiting.count < limit else { return .refused }
        waiting.append(waiter)
        defer { isRunning = true }
        return isRunning ? .wait : .begin
    }

    /// Begins a round with all who wait; nil when nobody does, and then the next one to join begins.
    mutating func nextRound() -> [Waiter]? {
        guard !waiting.isEmpty else {
            isRunning = false
            return nil
        }
        defer { waiting = [] }
        return waiting
    }
}
