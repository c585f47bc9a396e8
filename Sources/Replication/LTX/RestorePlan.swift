import FoundationEssentials

/// Which files of a replica give a state of the database, or why none do.
///
/// A chain begins with a file that holds transaction 1 and goes on with files that each begin at most one transaction
/// after where the one before ended. From each point the plan takes the file that reaches furthest, which gives the
/// fewest files; when several reach as far, the one at the highest level.
struct RestorePlan: Sendable, Equatable {
    let objects: [LTXObject]

    /// The last transaction that the chain reaches.
    var last: LTXObject? { objects.last }
    var sizeBytes: Int64 { objects.reduce(0) { $0 + $1.sizeBytes } }

    /// The chain that reaches furthest without going beyond `limit`; empty when none begins.
    init(_ candidates: [LTXObject], upTo limit: UInt64 = .max) {
        var chain: [LTXObject] = []
        var reached: UInt64 = 0
        // In the order in which they begin, so that each is looked at once.
        var rest = candidates.filter { $0.maxTransaction <= limit }.sorted {
            $0.minTransaction < $1.minTransaction
        }[...]
        var best: LTXObject?
        while true {
            while let next = rest.first, next.minTransaction <= reached + 1 {
                rest = rest.dropFirst()
                if next.maxTransaction > reached, best.map({ Self.isBetter(next, than: $0) }) ?? true {
                    best = next
                }
            }
            guard let chosen = best, chosen.maxTransaction > reached else { break }
            chain.append(chosen)
            reached = chosen.maxTransaction
            best = nil
        }
        objects = chain
    }

    /// The chain to the newest transaction that any file holds.
    ///
    /// - Throws: `ReplicationError` with the code `damaged` when there is a gap before it: where, and up to where the
    ///   chain goes.
    static func newest(_ candidates: [LTXObject], replica: ReplicaLocation) throws -> RestorePlan {
        let plan = RestorePlan(candidates)
        let newest = candidates.map(\.maxTransaction).max() ?? 0
        let reached = plan.last?.maxTransaction ?? 0
        guard reached == newest else {
            let found =
                candidates.filter { $0.minTransaction > reached + 1 }.map(\.minTransaction).min() ?? newest
            throw ReplicationError(
                .damaged,
                "restore \(replica): its files have a gap; they reach transaction \(reached) and go on at \(found), "
                    + "so a file was removed",
                lastGood: plan.last.map { RestorePoint(transaction: reached, time: $0.time) }
            )
        }
        return plan
    }

    private static func isBetter(_ one: LTXObject, than other: LTXObject) -> Bool {
        if one.maxTransaction != other.maxTransaction { return one.maxTransaction > other.maxTransaction }
        return one.level > other.level
    }
}
