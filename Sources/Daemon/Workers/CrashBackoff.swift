/// Decides how long an app that keeps failing is left alone.
///
/// The first failure costs a short pause, each further one twice the last, up to a maximum. An app that then ran well for
/// a while starts anew.
package struct CrashBackoff: Sendable, Equatable {
    package struct Limits: Sendable, Equatable {
        package var first = Duration.seconds(1)
        package var maximum = Duration.seconds(120)
        /// A worker that lived this long ends the series.
        package var healthyAfter = Duration.seconds(30)
        /// This many exits within a series are taken for accidents: the next request starts the app at once.
        package var freeExits = 2

        package init() {}
    }

    package let limits: Limits
    /// Failures in a row.
    package private(set) var failures = 0

    package init(limits: Limits = Limits()) { self.limits = limits }

    /// A start failed: how long to wait before the next.
    package mutating func startFailed() -> Duration {
        failures += 1
        return pause(after: failures)
    }

    /// A worker that had started ended by itself: how long to wait, or nil when the next request may start it.
    package mutating func exited(afterRunning time: Duration) -> Duration? {
        if time >= limits.healthyAfter { failures = 0 }
        failures += 1
        return failures <= limits.freeExits ? nil : pause(after: failures - limits.freeExits)
    }

    /// The cause may be gone: a new version, a new environment.
    package mutating func reset() { failures = 0 }

    private func pause(after count: Int) -> Duration {
        var pause = limits.first
        for _ in 1..<max(count, 1) where pause < limits.maximum { pause *= 2 }
        return min(pause, limits.maximum)
    }
}
