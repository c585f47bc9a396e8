/// Decides when a folder that changes is scanned.
///
/// A new file has no header yet when it appears, and SQLite gives no sign that it has written one. So after a change
/// there is a scan soon, and one more when things have been quiet for a while. A folder that changes all the time is
/// scanned no more often than the interval.
struct RescanPlan<Instant: InstantProtocol>: Sendable where Instant.Duration == Duration {
    static var settling: Duration { .milliseconds(20) }
    static var interval: Duration { .milliseconds(300) }
    static var quiet: Duration { .milliseconds(1000) }

    private var soon: Instant?
    private var later: Instant?
    private var lastScan: Instant?

    /// When the next scan is due; nil while nothing changes.
    var due: Instant? { [soon, later].compactMap { $0 }.min() }

    mutating func changed(at now: Instant) {
        let settled = now.advanced(by: Self.settling)
        let earliest = lastScan.map { max(settled, $0.advanced(by: Self.interval)) } ?? settled
        if soon == nil { soon = earliest }
        later = now.advanced(by: Self.quiet)
    }

    mutating func scanned(at now: Instant) {
        lastScan = now
        soon = nil
        if let quiet = later, quiet <= now { later = nil }
    }
}
