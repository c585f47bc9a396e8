import Control
import Storage

/// Ends a lease that nobody renews, and leaves one alone that is being renewed.
struct LeaseWatcher<LeaseClock: Clock>: Sendable where LeaseClock.Duration == Duration {
    let store: any ObjectStore
    let clock: LeaseClock

    /// Watches for one and a half renewals, then revokes and waits until the holder has surely stopped.
    ///
    /// `beat`: called at least once a second.
    func end(_ watch: LeaseWatch, beat: @escaping @Sendable () -> Void) async throws -> LeaseOutcome {
        let record = StoredRecord<LeaseRecord>(
            key: try Lease<LeaseClock>.key(of: watch.host.rawValue),
            store: store
        )
        beat()
        guard let first = try await record.read()?.value else { return .over(term: watch.term) }
        if !first.isRevoked {
            // A holder renews at a third of the duration.
            try await pause(first.duration / 2, beat: beat)
            if let second = try await record.read()?.value,
                second.term != first.term || second.renewals != first.renewals
            {
                return .renewed
            }
        }
        return try await withThrowingTaskGroup(of: Int?.self) { group in
            group.addTask {
                try await Lease<LeaseClock>.revoke(holder: watch.host.rawValue, store: store, clock: clock)
            }
            group.addTask {
                while true { try await pause(.seconds(1), beat: beat) }
            }
            defer { group.cancelAll() }
            let term = try await group.next() ?? nil
            return .over(term: term ?? watch.term)
        }
    }

    private func pause(_ duration: Duration, beat: @Sendable () -> Void) async throws {
        let end = clock.now.advanced(by: duration)
        while clock.now < end {
            beat()
            let next = min(end, clock.now.advanced(by: .seconds(1)))
            try await clock.sleep(until: next, tolerance: nil)
        }
    }
}
