/// A holder's right to act, as it is kept in the store.
///
/// No time of day is in it, because clocks differ and are set back. What counts is an order of events: a renewal is a
/// conditional write, and so is the revocation that makes every later renewal fail. The holder measures from before
/// it sent its last successful renewal; who revokes waits the whole duration from after the revocation was written.
/// The first span always ends before the second.
package struct LeaseRecord: Codable, Sendable, Hashable {
    /// Who holds it, such as a host's name.
    package var holder: String
    /// Grows by one whenever a lease is taken anew; rights given out under an earlier term are void.
    package var term: Int
    /// Grows by one with every renewal, so that a record that does not change is seen not to.
    package var renewals: Int
    /// How long one renewal is good for, in milliseconds.
    package var durationMilliseconds: Int64
    /// Once set, this term is over.
    package var isRevoked: Bool
    /// Set by a holder that has stopped acting: nobody needs to wait for the end of the term.
    package var isGivenBack = false
    /// A random text of the process that holds it, which tells its writes from all others.
    package var process: String

    package var duration: Duration { .milliseconds(durationMilliseconds) }

    package init(
        holder: String,
        term: Int,
        renewals: Int,
        duration: Duration,
        isRevoked: Bool,
        process: String
    ) {
        self.holder = holder
        self.term = term
        self.renewals = renewals
        let (seconds, attoseconds) = duration.components
        self.durationMilliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        self.isRevoked = isRevoked
        self.process = process
    }
}
