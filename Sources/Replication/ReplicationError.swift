package import FoundationEssentials

/// What went wrong in replicating, restoring or moving a database.
package struct ReplicationError: Error, CustomStringConvertible {
    /// The kinds of failure that callers tell apart.
    package enum Code: String, Sendable {
        /// The replica can't be written or read now: nothing may be acknowledged; trying later may help.
        case unavailable
        /// Somebody else writes this database or owns its app: this host must stop serving it.
        case superseded
        /// There is no replica to restore.
        case noReplica
        /// The replica can't give a sound database; `lastGood` is what it can give.
        case damaged
        /// There is no room left on this machine.
        case full
        /// A name, path or setting is not a valid one.
        case invalid
        /// The replication program, SQLite or the system answered something unexpected.
        case failed
    }

    package let code: Code
    package let message: String
    /// For `damaged`: the newest state that was restored and passed its integrity check.
    package let lastGood: RestorePoint?
    package let cause: (any Error)?

    package init(
        _ code: Code,
        _ message: String,
        lastGood: RestorePoint? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.lastGood = lastGood
        self.cause = cause
    }

    package var description: String {
        guard let cause else { return message }
        return "\(message): \(cause)"
    }
}

/// A state of a database that its replica holds.
package struct RestorePoint: Sendable, Hashable, CustomStringConvertible {
    /// The number of the last transaction in it.
    package let transaction: UInt64
    /// When that transaction was replicated, by the clock of the host that did.
    package let time: Date

    package init(transaction: UInt64, time: Date) {
        self.transaction = transaction
        self.time = time
    }

    package var description: String { "transaction \(transaction) of \(Self.text(time))" }

    /// A time to the millisecond, as replicas have it, so that it can be asked for.
    static func text(_ time: Date) -> String {
        // Half of one more, because a number of seconds is not exact and a format cuts off.
        time.addingTimeInterval(0.0005).formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }
}
