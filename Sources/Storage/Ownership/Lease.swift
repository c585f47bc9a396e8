import Synchronization

/// A lease that this process holds: taken, renewed while `run()` runs, and asked before every act that needs it.
///
/// The clock must never go back and must count the time that the machine sleeps, as `ContinuousClock` does.
package final class Lease<LeaseClock: Clock>: Sendable where LeaseClock.Duration == Duration {
    /// The term taken; what is claimed under this lease names it.
    package let term: Int
    package let holder: String
    private let record: StoredRecord<LeaseRecord>
    private let clock: LeaseClock
    private let state: Mutex<State>

    private struct State {
        var machine: LeaseMachine<LeaseClock.Instant>
        var version: StoredRecord<LeaseRecord>.Version
    }

    /// Where a holder's lease is kept.
    package static func key(of holder: String) throws -> ObjectKey {
        try ObjectKey("hosts/\(holder)/lease.json")
    }

    /// Takes the lease of `holder` at the next term.
    ///
    /// The caller makes sure that no other living process of this holder has it (a host locks its data folder):
    /// an earlier process's renewals fail from here on.
    ///
    /// - Throws: `StorageError`; `conditionFailed` when another process took it at the same moment.
    package static func take(
        holder: String,
        duration: Duration,
        margin: Duration,
        process: String,
        store: any ObjectStore,
        clock: LeaseClock
    ) async throws -> Lease {
        let record = StoredRecord<LeaseRecord>(key: try key(of: holder), store: store)
        let previous = try await record.read()
        let value = LeaseRecord(
            holder: holder,
            term: (previous?.value.term ?? 0) + 1,
            renewals: 0,
            duration: duration,
            isRevoked: false,
            process: process
        )
        var machine = LeaseMachine<LeaseClock.Instant>(duration: duration, margin: margin)
        let sent = clock.now
        let version = try await within(duration, "take the lease of \(holder)") {
            try await record.write(value, replacing: previous?.etag)
        }
        machine.renewed(sentAt: sent)
        return Lease(record: record, clock: clock, state: State(machine: machine, version: version))
    }

    private init(record: StoredRecord<LeaseRecord>, clock: LeaseClock, state: State) {
        self.term = state.version.value.term
        self.holder = state.version.value.holder
        self.record = record
        self.clock = clock
        self.state = Mutex(state)
    }

    /// Whether this process may act under the lease now.
    package var isValid: Bool { state.withLock { $0.machine.isValid(at: clock.now) } }

    /// Whether the lease is over for good.
    package var isLost: Bool { state.withLock { $0.machine.state == .lost } }

    /// Throws unless this process may act under the lease now.
    ///
    /// - Throws: `StorageError` with the code `denied`, saying whether the lease ran out or was taken away.
    package func check() throws {
        guard !isValid else { return }
        let reason = isLost ? "it was revoked or taken over" : "it ran out and could not be renewed in time"
        throw StorageError(.denied, "act under the lease of \(holder), term \(term): \(reason)")
    }

    /// Renews the lease once.
    ///
    /// - Throws: `conditionFailed` when it is lost for good; other errors when the store did not take it this time.
    package func renew() async throws {
        do {
            try await write(state.withLock { $0.version })
        } catch let error as StorageError where error.code == .conditionFailed || error.code == .notFound {
            guard let own = try await ownWrite() else { throw refusal(error) }
            // An earlier renewal was carried out although its answer was lost; so this one goes on from there.
            do {
                try await write(own)
            } catch let error as StorageError where error.code == .conditionFailed || error.code == .notFound
            {
                throw refusal(error)
            }
        }
    }

    private func write(_ version: StoredRecord<LeaseRecord>.Version) async throws {
        var value = version.value
        value.renewals += 1
        let sent = clock.now
        let written = try await record.write(value, replacing: version.etag)
        state.withLock {
            $0.version = written
            $0.machine.renewed(sentAt: sent)
        }
    }

    /// The record as it is in the store, if this process wrote it last and nobody has revoked it.
    private func ownWrite() async throws -> StoredRecord<LeaseRecord>.Version? {
        let known = state.withLock { $0.version.value }
        guard let found = try await record.read(), found.value.process == known.process,
            found.value.term == known.term, !found.value.isRevoked, !found.value.isGivenBack
        else { return nil }
        return found
    }

    private func refusal(_ error: StorageError) -> StorageError {
        state.withLock { $0.machine.refused() }
        return StorageError(
            .conditionFailed,
            "renew the lease of \(holder), term \(term): it was revoked",
            cause: error
        )
    }

    /// Ends the lease by its holder, who has stopped to act: who takes over need not wait.
    ///
    /// - Throws: `StorageError`; `conditionFailed` when it was lost before.
    package func giveBack() async throws {
        let version = state.withLock { state in
            state.machine.refused()
            return state.version
        }
        var value = version.value
        value.isRevoked = true
        value.isGivenBack = true
        _ = try await record.write(value, replacing: version.etag)
    }

    /// Counts a sign of life, sent at `sent`, that somebody took who revokes no lease within a duration after one.
    ///
    /// So a holder that reaches only those who would revoke its lease, and not the store, may go on.
    package func confirm(sentAt sent: LeaseClock.Instant) {
        state.withLock { $0.machine.renewed(sentAt: sent) }
    }

    /// Renews the lease until it is lost or the task is cancelled.
    ///
    /// A renewal that is not answered by the time of the next is given up, so that a connection on which nothing comes back
    /// any more costs no more than that.
    ///
    /// `failed`: told of each renewal that the store did not take.
    package func run(failed: (any Error) -> Void) async throws {
        let interval = state.withLock { $0.machine.renewalInterval }
        var next = clock.now
        while true {
            // From the beginning of the one before: a late answer makes the next no later.
            next = max(clock.now, next.advanced(by: interval))
            try await clock.sleep(until: next, tolerance: nil)
            do {
                try await within(interval, "renew the lease of \(holder)") {
                    try await self.renew()
                }
            } catch let error as StorageError where error.code == .conditionFailed {
                throw error
            } catch let error as CancellationError {
                throw error
            } catch {
                failed(error)
            }
        }
    }

    /// Ends a holder's lease and waits until whoever held it has surely stopped.
    ///
    /// - Returns: the term that is over; nil when the holder never had a lease.
    /// - Throws: `conditionFailed` when the holder kept changing it, which shows that it lives: try again.
    package static func revoke(
        holder: String,
        store: any ObjectStore,
        clock: LeaseClock
    ) async throws -> Int? {
        let record = StoredRecord<LeaseRecord>(key: try key(of: holder), store: store)
        var failures = 0
        while true {
            guard let version = try await record.read() else { return nil }
            var value = version.value
            if value.isGivenBack { return value.term }
            if !value.isRevoked {
                value.isRevoked = true
                do {
                    _ = try await record.write(value, replacing: version.etag)
                } catch let error as StorageError where error.code == .conditionFailed {
                    failures += 1
                    guard failures < 20 else { throw error }
                    continue
                }
            }
            // Also when another revoked it: when that was is not known, so the whole wait is due.
            try await clock.sleep(until: clock.now.advanced(by: waitAfterRevoking(value)), tolerance: nil)
            return value.term
        }
    }
}

/// Gives up on something that is not done in time, of this machine's real time.
///
/// - Throws: `StorageError` with the code `unavailable`.
private func within<Result: Sendable>(
    _ limit: Duration,
    _ what: String,
    _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            throw StorageError(.unavailable, "\(what): the store did not answer in \(limit)")
        }
        defer { group.cancelAll() }
        guard let result = try await group.next() else { throw CancellationError() }
        return result
    }
}
