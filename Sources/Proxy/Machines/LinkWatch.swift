/// Tells a connection whose other end is gone without a word from one whose other end has nothing to say, or is slow.
///
/// The other end's kernel acknowledges what arrives even while its program sleeps or takes no bytes; only a cut link or a
/// machine that is gone leaves bytes, and probes, unacknowledged. TCP itself would send again for about 15 minutes.
package struct LinkWatch: Sendable {
    /// Since when an acknowledgement has been owed, in milliseconds; 0 while none is.
    private var since: UInt64 = 0

    package init() {}

    /// For how many milliseconds the other end has owed an acknowledgement, and given none.
    ///
    /// `now` and `sinceAcknowledgement` are in milliseconds. It counts from the first call that finds one owed: an
    /// acknowledgement that is older was for something else.
    package mutating func silence(now: UInt64, isOwed: Bool, sinceAcknowledgement: UInt64) -> UInt64 {
        guard isOwed else {
            since = 0
            return 0
        }
        let acknowledged = now - min(sinceAcknowledgement, now)
        since = since == 0 ? max(now, 1) : max(since, acknowledged)
        return now - min(since, now)
    }
}
