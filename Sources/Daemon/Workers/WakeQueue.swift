/// Decides which of the apps that must start may do so now: a start is work for a core, and a hundred at once would
/// make all of them slow.
///
/// First come, first served; a bounded number waits.
package struct WakeQueue<Key: Hashable & Sendable>: Sendable {
    package enum Admission: Sendable, Equatable {
        case start
        case wait
        /// As many wait as the queue takes.
        case full
    }

    package let slots: Int
    package let capacity: Int
    private var running: Set<Key> = []
    private var waiting: [Key] = []
    private var first = 0
    private var queued: Set<Key> = []

    /// - Parameters:
    ///   - slots: starts at the same time.
    ///   - capacity: starts that may wait.
    package init(slots: Int, capacity: Int) {
        self.slots = max(slots, 1)
        self.capacity = capacity
    }

    package var runningCount: Int { running.count }
    package var waitingCount: Int { queued.count }

    /// Asks for a start.
    ///
    /// A key that runs or waits already stays where it is.
    package mutating func request(_ key: Key) -> Admission {
        if running.contains(key) { return .start }
        if queued.contains(key) { return .wait }
        if running.count < slots {
            running.insert(key)
            return .start
        }
        guard queued.count < capacity else { return .full }
        queued.insert(key)
        waiting.append(key)
        return .wait
    }

    /// A start has ended, well or not, or is not wanted any more: the keys that may start now.
    package mutating func finish(_ key: Key) -> [Key] {
        running.remove(key)
        queued.remove(key)
        var admitted: [Key] = []
        while running.count < slots, first < waiting.count {
            let next = waiting[first]
            first += 1
            guard queued.remove(next) != nil else { continue }
            running.insert(next)
            admitted.append(next)
        }
        if first > 64 && first * 2 > waiting.count {
            waiting.removeFirst(first)
            first = 0
        }
        return admitted
    }
}
