/// Decides how many warm workers there should be.
///
/// The pool grows with the rate at which workers were taken lately, shrinks slowly, and never boots more at once than
/// there are cores: a boot is about 0.1 s of CPU time.
package struct PoolPlan: Sendable {
    package struct Limits: Sendable, Equatable {
        package var minimum: Int
        package var maximum: Int
        /// Boots at the same time.
        package var boots: Int

        package init(minimum: Int = 2, maximum: Int = 8, boots: Int = 2) {
            self.minimum = max(minimum, 0)
            self.maximum = max(maximum, self.minimum)
            self.boots = max(boots, 1)
        }
    }

    /// What the pool holds.
    package struct Stock: Sendable, Equatable {
        package var warm: Int
        package var booting: Int
        /// Starts that wait for a worker.
        package var waiting: Int

        package init(warm: Int, booting: Int, waiting: Int) {
            self.warm = warm
            self.booting = booting
            self.waiting = waiting
        }
    }

    package enum Decision: Sendable, Equatable {
        case boot(Int)
        case retire(Int)
        case stay
    }

    package let limits: Limits
    /// Workers taken lately, each counting half after `halfLife`.
    private var demand = 0.0
    private var demandAt = Uptime.zero
    private var failures = 0
    private var retryAt = Uptime.zero
    private static let halfLife = 20.0

    package init(limits: Limits = Limits()) { self.limits = limits }

    /// A worker was asked for.
    package mutating func taken(now: Uptime) {
        decay(to: now)
        demand += 1
    }

    /// A worker could not be booted: the next attempts come later and later.
    package mutating func bootFailed(now: Uptime) {
        failures += 1
        retryAt = now + .milliseconds(min(250 << min(failures, 7), 30_000))
    }

    package mutating func booted() {
        failures = 0
        retryAt = .zero
    }

    /// When to ask again although nothing else happened.
    package var nextAttempt: Uptime? { failures == 0 ? nil : retryAt }

    package mutating func decide(_ stock: Stock, now: Uptime, isMemoryShort: Bool) -> Decision {
        decay(to: now)
        let wanted = isMemoryShort ? min(limits.minimum, 1) : target
        let needed = stock.waiting + wanted - stock.warm - stock.booting
        if needed > 0 {
            guard now >= retryAt else { return .stay }
            let free = limits.boots - stock.booting
            return free > 0 ? .boot(min(needed, free)) : .stay
        }
        // One more than wanted may stay, so that the pool does not swing.
        let surplus = stock.warm - wanted - (isMemoryShort ? 0 : 1)
        return surplus > 0 && stock.waiting == 0 ? .retire(surplus) : .stay
    }

    /// The number of warm workers wanted when nobody waits.
    package var target: Int {
        min(limits.maximum, limits.minimum + Int((demand / 8).rounded(.down)))
    }

    private mutating func decay(to now: Uptime) {
        let seconds = (now - demandAt) / .seconds(1)
        guard seconds > 0 else { return }
        // Halved step by step: no library call, the same on every machine.
        var steps = seconds / Self.halfLife
        while steps >= 1 && demand > 0.001 {
            demand /= 2
            steps -= 1
        }
        demand = steps < 1 ? demand * (1 - steps / 2) : 0
        demandAt = now
    }
}
