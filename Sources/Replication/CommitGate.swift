import Storage

/// Holds an answer until every commit made for it is in the replica.
///
/// A gated request is answered only when `confirm` has returned. Reads that changed nothing do not come here.
package struct CommitGate: Sendable {
    /// How long a client that was refused should wait before it tries again, in seconds: `Retry-After`.
    package static let retryAfterSeconds = 2

    private let replicator: any Replicator

    package init(replicator: any Replicator) { self.replicator = replicator }

    /// Returns when all that was committed to the databases before the call is in the replica and this host may still
    /// say so.
    ///
    /// A database that was found a moment ago and is not watched yet is watched by this.
    ///
    /// `fence`: throws when this host may no longer act for the app, such as `Lease.check`. Asked before, to
    ///   save the work, and after: what was replicated once the right had ended may have come too late for the next
    ///   owner, and must not be acknowledged.
    /// - Throws: `ReplicationError`: `unavailable` or `full` when the replica can't be written now (503, and nothing
    ///   is lost locally); `superseded` when another owns the app: stop serving it.
    package func confirm(_ databases: [ReplicatedDatabase], fence: @Sendable () throws -> Void) async throws {
        try check(fence)
        if databases.count == 1 {
            _ = try await replicator.watch(databases[0])
        } else {
            try await forEachConcurrently(databases, width: 16) { [replicator] in
                _ = try await replicator.watch($0)
            }
        }
        try check(fence)
    }

    private func check(_ fence: () throws -> Void) throws {
        do {
            try fence()
        } catch let error as ReplicationError {
            throw error
        } catch {
            throw ReplicationError(.superseded, "acknowledge a write: this host may not", cause: error)
        }
    }
}
