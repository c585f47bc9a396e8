/// A key that is by itself more than its host's fair share.
struct Giant {
    let key: UInt64
    let load: Int
    var owner: Int
}

extension Assigner {
    /// Finds the keys that no move can help, hottest first, and notes them on their hosts.
    ///
    /// Each takes a host out of the reckoning, which lowers what is fair for the others and may make the next
    /// key one of them.
    func findGiants(_ draft: inout Draft) -> [Giant] {
        let online = draft.online
        let capacity = online.reduce(0.0) { $0 + draft.hosts[$1].capacity }
        let total = draft.hosts.reduce(0) { $0 + $1.load }
        guard online.count > 1, total > 0 else { return [] }
        var candidates: [Giant] = []
        let smallest = online.reduce(Double.infinity) { min($0, draft.hosts[$1].capacity) }
        let least = 0.1 * smallest * Double(total) / capacity
        for cell in draft.loads.cells where cell.slice.isSingleKey && Double(cell.weight.load) > least {
            candidates.append(Giant(key: cell.slice.first.value, load: cell.weight.load, owner: 0))
        }
        candidates.sort { $0.load == $1.load ? $0.key < $1.key : $0.load > $1.load }
        var giants: [Giant] = []
        for var candidate in candidates where giants.count < online.count {
            candidate.owner = draft.pieces[draft.index(of: candidate.key)].owner
            guard draft.hosts[candidate.owner].state == .online else { continue }
            let fair = fairLevel(draft, giants: giants)
            guard Double(candidate.load) > policy.startAbove * fair * smallest else { break }
            let host = draft.hosts[candidate.owner]
            if Double(candidate.load) > policy.startAbove * fair * host.capacity { giants.append(candidate) }
        }
        draft.setGiants(giants.map { ($0.owner, $0.load) })
        return giants
    }

    /// The level of every host if the load were spread evenly over those that have no giant.
    func fairLevel(_ draft: Draft, giants: [Giant]) -> Double {
        var load = Double(draft.hosts.reduce(0) { $0 + $1.load })
        var capacity = draft.online.reduce(0.0) { $0 + draft.hosts[$1].capacity }
        guard capacity > 0 else { return 0 }
        let even = load / capacity
        let average = capacity / Double(draft.online.count)
        var taken: Set<Int> = []
        for giant in giants {
            load -= Double(giant.load)
            // A second giant on one host will need another one.
            capacity -= taken.insert(giant.owner).inserted ? draft.hosts[giant.owner].capacity : average
        }
        return capacity > 0 && load > 0 ? load / capacity : even
    }

    /// Moves giants to where they do better: from beside another giant, or to a host of more capacity.
    ///
    /// Returns them with their hosts after that.
    func separate(
        _ draft: inout Draft,
        _ meter: inout BudgetMeter,
        giants: [Giant],
        fair: Double
    ) -> [Giant] {
        var result = giants
        let receivers = draft.online
        var count = [Int](repeating: 0, count: draft.hosts.count)
        for giant in giants { count[giant.owner] += 1 }
        for (number, giant) in giants.enumerated() {
            let index = draft.index(of: giant.key)
            let piece = draft.pieces[index]
            guard piece.grip == .free, !piece.isMoved, meter.allows(piece) else { continue }
            let free = receivers.filter { count[$0] == 0 }
            guard let host = coolest(of: free, in: draft, adding: piece.load) else { continue }
            let source = draft.hosts[giant.owner]
            // Beside another giant everything of the source presses on it; alone, the rest will leave.
            let now = count[giant.owner] > 1 ? source.level : Double(piece.load) / source.capacity
            guard draft.hosts[host].level(adding: piece.load) < now - policy.leastGain * fair else {
                continue
            }
            meter.take(piece)
            draft.move(index, to: host)
            count[giant.owner] -= 1
            count[host] += 1
            result[number].owner = host
        }
        draft.setGiants(result.map { ($0.owner, $0.load) })
        return result
    }
}
