import Control
package import Storage
package import Temporal

/// What workflows have done by control itself, on ``ClusterNames/controlQueue``.
package enum ControlActivities {
    package static let endLease = ActivityDefinition<LeaseWatch, LeaseOutcome>("endLease")

    package static func registrations(store: any ObjectStore) -> [ActivityRegistration] {
        [
            ActivityRegistration(endLease) { context, watch in
                try await LeaseWatcher(store: store, clock: ContinuousClock()).end(watch) {
                    context.heartbeat()
                }
            }
        ]
    }
}

/// A lease whose holder gives no sign of life.
package struct LeaseWatch: Codable, Sendable {
    package var host: HostID
    /// The term that the holder began its session with.
    package var term: Int
    package var leaseMilliseconds: Int
}

/// What became of a lease that was watched.
package enum LeaseOutcome: Codable, Sendable, Equatable {
    /// Its holder renews it: it lives.
    case renewed
    /// It was revoked, and its holder has surely stopped.
    case over(term: Int)
}
