import Control
import Storage

/// Ends a lease that nobody renews, and leaves one alone that is being renewed.
///
/// ```
///   first look          second look, unchanged: revoked            over
///       │◄── half a duration ──►│                                    │
///       │◄──────────────── a duration and 2 % ──────────────────────►│
/// ```
/// The time is counted from the first look and not from the revocation. A renewal changes the record, and the revocation is
/// a write on the condition that the record is the one of the first look; so the last renewal was sent before that look, and
/// the lease that it gave is over a duration later. Signs of life that Temporal took count like renewals for the holder; the
/// last of them was taken before its session was over, and a lease is looked at only after that.
struct LeaseWatcher<LeaseClock: Clock>: Sendable where LeaseClock.Duration == Duration {
    let store: any ObjectStore
    let clock: LeaseClock

    /// Watches for one and a half renewals, then revokes, and returns when the holder has surely stopped.
    ///
    /// `beat`: called at least once a second.
    func end(_ watch: LeaseWatch, beat: @escaping @Sendable () -> Void) async throws -> LeaseOutcome {
        let record = StoredRecord<LeaseRecord>(
            key: try Lease<LeaseClock>.key(of: watch.host.rawValue),
            store: store
        )
        beat()
        guard let first = try await record.read()?.value else { return .over(term: watch.term) }
        // Only now: what was renewed until the store answered was sent before.
        let begin = clock.now
        if first.isGivenBack { return .over(term: first.term) }
        if !first.isRevoked {
            // A holder renews at a third of the duration.
            try await pause(until: begin.advanced(by: first.duration / 2), beat: beat)
            if let outcome = try await revoke(record, unchangedSince: first) { return outcome }
        }
        try await pause(until: begin.advanced(by: waitAfterRevoking(first)), beat: beat)
        return .over(term: first.term)
    }

    /// Revokes the lease as it was seen; else says what has become of it.
    private func revoke(
        _ record: StoredRecord<LeaseRecord>,
        unchangedSince first: LeaseRecord
    ) async throws -> LeaseOutcome? {
        guard let second = try await record.read() else { return .over(term: first.term) }
        if let outcome = outcome(second.value, first) { return outcome }
        // Another control may have revoked it meanwhile.
        guard !second.value.isRevoked else { return nil }
        var value = second.value
        value.isRevoked = true
        do {
            _ = try await record.write(value, replacing: second.etag)
            return nil
        } catch let error as StorageError where error.code == .conditionFailed || error.code == .notFound {
            guard let third = try await record.read()?.value else { return .over(term: first.term) }
            if let outcome = outcome(third, first) { return outcome }
            guard third.isRevoked else { throw error }
            return nil
        }
    }

    private func outcome(_ now: LeaseRecord, _ first: LeaseRecord) -> LeaseOutcome? {
        if now.isGivenBack { return .over(term: now.term) }
        return now.term != first.term || now.renewals != first.renewals ? .renewed : nil
    }

    private func pause(until end: LeaseClock.Instant, beat: @Sendable () -> Void) async throws {
        while clock.now < end {
            beat()
            let next = min(end, clock.now.advanced(by: .seconds(1)))
            try await clock.sleep(until: next, tolerance: nil)
        }
    }
}
