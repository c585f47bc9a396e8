//             debt above the allowance
//   running ───────────────────────────► braked
//      ▲                                    │ debt paid, or braked for long enough
//      └────────────────────────────────────┘
//
// Beside that, and independent of it: an app that uses much of the CPU runs when nobody else wants to.

/// Decides how an app that uses much is held back, so that its neighbours do not notice.
///
/// What an app writes goes to the kernel's memory first and to the disk behind its back; version 1 of control groups
/// cannot limit that, and version 2 would let others wait for the file system's journal with it. So an app that writes
/// faster than it may is stopped for moments: a token bucket, whose tap is the freezer.
package struct LoadPlan: Sendable, Equatable {
    package struct Limits: Sendable, Equatable {
        /// What an app may write in the long run; nil for anything.
        package var writtenBytesPerSecond: Int? = 32 << 20
        /// What it may write at once beyond that.
        package var burstBytes = 64 << 20
        /// Cores from which on an app is one that uses much, measured over a quarter of a second.
        package var busyCores = 0.5

        package init() {}
    }

    /// What the processes of an app have used since they started.
    package struct Usage: Sendable, Equatable {
        package var cpu: Duration
        package var writtenBytes: Int

        package init(cpu: Duration = .zero, writtenBytes: Int = 0) {
            self.cpu = cpu
            self.writtenBytes = writtenBytes
        }
    }

    package enum Action: Sendable, Equatable {
        /// Stop its processes.
        case brake
        /// Let them go on.
        case release
        /// They get what the others leave.
        case yieldCPU
        /// They get their share again.
        case shareCPU
    }

    package let limits: Limits
    private var last: Usage?
    private var lookedAt = Uptime.zero
    /// Written, and not yet forgotten.
    private var debt = 0.0
    private var brakedAt: Uptime?
    /// Whether it gets what the others leave.
    package private(set) var yields: Bool
    private var window: (cpu: Duration, at: Uptime)?
    private var dueAt = Uptime.zero

    /// An app is never stopped for longer than this, so that it can still answer within its time.
    static let longestBrake = Duration.seconds(2)
    /// How long a debt can last, whatever was written.
    static let longestDebt = 8.0
    /// How long an app that used much is held back at least.
    static let penance = Duration.seconds(1)
    /// How soon an app is looked at again that writes, that works, and that does nothing.
    static let (near, usual, far): (Duration, Duration, Duration) = (
        .milliseconds(20), .milliseconds(250), .seconds(1),
    )

    /// `yields`: whether it begins with what the others leave, because the worker before it used much.
    package init(limits: Limits = Limits(), yields: Bool = false) {
        self.limits = limits
        self.yields = yields
    }

    package static func == (one: LoadPlan, other: LoadPlan) -> Bool {
        one.limits == other.limits && one.last == other.last && one.debt == other.debt
            && one.brakedAt == other.brakedAt && one.yields == other.yields && one.dueAt == other.dueAt
    }

    package var isBraked: Bool { brakedAt != nil }

    package func isDue(_ now: Uptime) -> Bool { now >= dueAt }
    package var due: Uptime { dueAt }

    /// Takes what the app has used.
    ///
    /// A number that is lower than before is of other processes.
    package mutating func looked(_ usage: Usage, now: Uptime) -> [Action] {
        guard let before = last else {
            (last, lookedAt, dueAt) = (usage, now, now + Self.usual)
            window = (usage.cpu, now)
            return []
        }
        let seconds = max((now - lookedAt) / .seconds(1), 0)
        let written = max(usage.writtenBytes - before.writtenBytes, 0)
        let works = usage.cpu > before.cpu
        (last, lookedAt) = (usage, now)
        var actions = brake(written: written, seconds: seconds, now: now)
        actions += share(usage.cpu, now: now)
        let isNear = isBraked || debt > Double(limits.burstBytes) / 8
        dueAt = now + (isNear ? Self.near : works ? Self.usual : Self.far)
        return actions
    }

    private mutating func brake(written: Int, seconds: Double, now: Uptime) -> [Action] {
        guard let rate = limits.writtenBytesPerSecond.map(Double.init) else { return [] }
        let burst = Double(limits.burstBytes)
        debt = max(debt + Double(written) - rate * seconds, 0)
        debt = min(debt, burst + rate * Self.longestDebt)
        if let since = brakedAt {
            // A little less than the allowance, so that it does not stop again at once.
            guard debt <= burst - rate / 8 || now - since >= Self.longestBrake else { return [] }
            brakedAt = nil
            return [.release]
        }
        guard debt > burst else { return [] }
        brakedAt = now
        return [.brake]
    }

    private mutating func share(_ cpu: Duration, now: Uptime) -> [Action] {
        guard let start = window, now - start.at >= (yields ? Self.penance : Self.usual) else { return [] }
        let cores = (cpu - start.cpu) / (now - start.at)
        window = (cpu, now)
        // One that has to wait because of it uses little, and gets its share again.
        let isBusy = cores >= limits.busyCores * (yields ? 0.5 : 1)
        guard isBusy != yields else { return [] }
        yields = isBusy
        return [isBusy ? .yieldCPU : .shareCPU]
    }
}
