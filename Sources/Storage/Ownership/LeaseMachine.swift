/// Decides when a holder may act, from readings of a clock that never goes back.
///
/// ```
///            renewed                    refused
///   none ───────────────► held ────────────────► lost
///                          │ ▲ renewed             ▲
///                          ▼ │                     │ refused
///                        expired ──────────────────┘
/// ```
/// An expired lease may be renewed, because nobody has revoked it; a lost one never.
package struct LeaseMachine<Instant: InstantProtocol>: Sendable where Instant.Duration == Duration {
    package enum State: Sendable, Equatable {
        case none
        /// Valid before this moment.
        case held(until: Instant)
        case lost
    }

    package private(set) var state: State = .none
    private let duration: Duration
    private let margin: Duration

    /// - Parameters:
    ///   - duration: how long a renewal is good for.
    ///   - margin: how much sooner the holder stops than it must, for what lies between a look at the clock and the act.
    package init(duration: Duration, margin: Duration) {
        precondition(margin >= .zero && margin < duration, "The margin is a part of the duration.")
        self.duration = duration
        self.margin = margin
    }

    /// The store took a renewal that was sent at `sent`; a reading from before the write, never from after it.
    package mutating func renewed(sentAt sent: Instant) {
        let end = sent.advanced(by: duration - margin)
        switch state {
        case .none: state = .held(until: end)
        // An answer that was overtaken by a later one must not shorten what is held.
        case .held(let until): state = .held(until: max(until, end))
        case .lost: break
        }
    }

    /// The store refused a renewal: someone revoked the lease or took it.
    package mutating func refused() { state = .lost }

    /// Whether the holder may act at `now`.
    package func isValid(at now: Instant) -> Bool {
        guard case .held(let until) = state else { return false }
        return now < until
    }

    /// How long to wait before the next renewal: a third of the duration.
    package var renewalInterval: Duration { duration / 3 }
}

/// How long who revokes a lease must wait until its holder has surely stopped.
///
/// The holder's clock may run slower than ours; both are quartz, and 2 % is far more than they differ by.
package func waitAfterRevoking(_ record: LeaseRecord) -> Duration {
    record.duration * 1.02
}
