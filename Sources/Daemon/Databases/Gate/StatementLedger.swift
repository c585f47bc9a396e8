/// Decides whether the harness's word can be taken for which requests have written.
///
/// The harness counts the statements that may write, and says with each answer how many there were in the process and whether
/// any was of this request. That is all of them where the app uses the runtime's SQLite. A library of another kind writes
/// behind its back: then there are more transactions than statements. So the word is taken only after the two were seen to
/// agree over a change, at a moment when nothing else ran; until then every answer counts as one that has written.
struct StatementLedger: Sendable {
    /// The line of an answer's head, taken out before the client sees it: `<0 or 1> <count>`.
    static let header = "x-martlet-statements"

    struct Report: Sendable, Equatable {
        var hasWritten: Bool
        /// Statements of the process that may have written.
        var count: UInt64

        init?(_ text: String) {
            let words = text.split(separator: " ")
            guard words.count == 2, words[0] == "0" || words[0] == "1", let count = UInt64(words[1]) else {
                return nil
            }
            hasWritten = words[0] == "1"
            self.count = count
        }
    }

    private(set) var isTrusted = false
    private var count: UInt64 = 0
    private var marks: [String: CommitMark] = [:]

    /// Compares what the harness counted with the transactions in the logs.
    mutating func balance(_ report: Report, _ now: [String: CommitMark]) {
        defer {
            count = report.count
            marks = now
        }
        // A log that was begun anew, as replication itself does it, or another set of databases, tells nothing.
        guard report.count >= count, now.count == marks.count,
            now.allSatisfy({ marks[$0.key]?.salts == $0.value.salts })
        else { return }
        let transactions = now.reduce(into: UInt64(0)) { sum, entry in
            sum += UInt64(entry.value.transactions &- (marks[entry.key]?.transactions ?? 0))
        }
        guard transactions > 0 else { return }
        isTrusted = transactions <= report.count - count
    }
}
