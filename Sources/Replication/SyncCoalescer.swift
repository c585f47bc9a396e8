/// Shares syncs of one database between those who wait for one.
///
/// ```
///            ask: start                       ask: wait for the next
///   idle ─────────────────► syncing(current) ◄──────┐
///    ▲                        │      │  └───────────┘
///    └────────────────────────┘      └──► syncing(next)   when some wait
///      done: release current               done: release current, start
/// ```
/// A sync covers what was committed before it started. So who asks while one runs waits for the next, and all who
/// asked before a sync started share it.
package struct SyncCoalescer<Waiter> {
    package enum Request {
        /// The caller starts a sync and says `finished` when it is done.
        case start
        case wait
        /// Too many wait already; the waiter was not taken.
        case refuse
    }

    private var current: [Waiter] = []
    private var next: [Waiter] = []
    private var isSyncing = false
    private let limit: Int

    /// - Parameter limit: how many may wait for the next sync.
    package init(limit: Int) { self.limit = limit }

    package var isIdle: Bool { !isSyncing }
    package var waitingCount: Int { current.count + next.count }

    package mutating func ask(_ waiter: Waiter) -> Request {
        guard isSyncing else {
            isSyncing = true
            current = [waiter]
            return .start
        }
        guard next.count < limit else { return .refuse }
        next.append(waiter)
        return .wait
    }

    /// Takes all that wait: no sync follows.
    package mutating func takeAll() -> [Waiter] {
        defer { (current, next, isSyncing) = ([], [], false) }
        return current + next
    }

    /// The running sync ended, well or not.
    ///
    /// - Returns: those to tell, and whether the caller starts another sync now.
    package mutating func finished() -> (released: [Waiter], startsAnother: Bool) {
        let released = current
        current = next
        next = []
        isSyncing = !current.isEmpty
        return (released, isSyncing)
    }
}
