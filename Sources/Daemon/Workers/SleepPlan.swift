/// Decides how deep an app sleeps: hot while it is used, frozen after a time without requests, stopped when it stays unused
/// or when memory runs short.
package struct SleepPlan: Sendable, Equatable {
    package struct Limits: Sendable, Equatable {
        /// How long a frozen worker is kept.
        package var frozenFor: Duration
        /// What all frozen workers together may keep.
        package var frozenBytes: Int
        /// Whether the machine can freeze a worker at all.
        package var canFreeze: Bool

        package init(frozenFor: Duration = .seconds(600), frozenBytes: Int = 1 << 30, canFreeze: Bool = true)
        {
            self.frozenFor = frozenFor
            self.frozenBytes = frozenBytes
            self.canFreeze = canFreeze
        }
    }

    package enum Depth: Sendable, Equatable {
        case hot
        case frozen
    }

    /// A worker with an app, as it is now.
    package struct Candidate: Sendable, Equatable {
        package var app: Int
        package var depth: Depth
        /// Since its last activity.
        package var idle: Duration
        /// Nil when it never sleeps.
        package var sleepAfter: Duration?
        package var memoryBytes: Int

        package init(app: Int, depth: Depth, idle: Duration, sleepAfter: Duration?, memoryBytes: Int) {
            self.app = app
            self.depth = depth
            self.idle = idle
            self.sleepAfter = sleepAfter
            self.memoryBytes = memoryBytes
        }
    }

    package enum Order: Sendable, Equatable {
        case freeze(app: Int)
        case stop(app: Int)
    }

    package let limits: Limits
    /// Under memory pressure at most this many are stopped in one round, so that its effect is seen before the next.
    private static let stopsUnderPressure = 4

    package init(limits: Limits) { self.limits = limits }

    /// The orders for this moment.
    ///
    /// `candidates` with running requests, open WebSockets or background work are hot with no idle time.
    package func decide(_ candidates: [Candidate], isMemoryShort: Bool) -> [Order] {
        var orders: [Order] = []
        var frozen: [Candidate] = []
        for candidate in candidates {
            guard let sleepAfter = candidate.sleepAfter, candidate.idle >= sleepAfter else { continue }
            switch candidate.depth {
            case .hot where limits.canFreeze && !isMemoryShort:
                orders.append(.freeze(app: candidate.app))
            case .hot:
                orders.append(.stop(app: candidate.app))
            case .frozen where candidate.idle >= sleepAfter + limits.frozenFor:
                orders.append(.stop(app: candidate.app))
            case .frozen:
                frozen.append(candidate)
            }
        }
        // The longest unused go first.
        frozen.sort { ($0.idle, $0.app) > ($1.idle, $1.app) }
        var bytes = frozen.reduce(0) { $0 + $1.memoryBytes }
        var stops = 0
        for candidate in frozen {
            let isPressed = isMemoryShort && stops < Self.stopsUnderPressure
            guard bytes > limits.frozenBytes || isPressed else { break }
            orders.append(.stop(app: candidate.app))
            bytes -= candidate.memoryBytes
            stops += 1
        }
        return orders
    }
}
