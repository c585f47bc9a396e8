extension Assigner {
    /// Joins cold neighbours: those of one host at no cost, and while there are too many slices also those of
    /// two hosts, for which the cheaper one moves.
    ///
    /// Returns the number of joins.
    func merge(_ draft: inout Draft, _ meter: inout BudgetMeter, fair: Double, budget: Budget) -> Int {
        let online = draft.online.count
        guard online > 0 else { return 0 }
        let limit = averageSlice(draft)
        let excess = draft.pieces.count - policy.slicesPerHost * online
        if excess > 0 {
            bringTogether(&draft, &meter, atMost: excess, fair: fair, limit: limit, budget: budget)
        }
        var joins = max(0, draft.pieces.count - policy.minimumSlicesPerHost * online)
        let before = draft.pieces.count
        var pieces: [Piece] = []
        pieces.reserveCapacity(before)
        for piece in draft.pieces {
            if joins > 0, let lower = pieces.last, lower.owner == piece.owner,
                canJoin(lower, piece, limit: limit, budget: budget)
            {
                var joined = draft.piece(lower.first, piece.last, owner: piece.owner)
                joined.isMoved = lower.isMoved || piece.isMoved
                pieces[pieces.count - 1] = joined
                joins -= 1
            } else {
                pieces.append(piece)
            }
        }
        draft.pieces = pieces
        return before - pieces.count
    }

    /// Moves cold slices to the host of a cold neighbour, the cheapest first, with at most a quarter of the
    /// round's budget, so that merging never takes the place of balancing.
    private func bringTogether(
        _ draft: inout Draft,
        _ meter: inout BudgetMeter,
        atMost count: Int,
        fair: Double,
        limit: Double,
        budget: Budget
    ) {
        var own = BudgetMeter(budget.quarter)
        var pairs: [(index: Int, mover: Int, cost: Double)] = []
        for index in draft.pieces.indices.dropLast() {
            let (lower, upper) = (draft.pieces[index], draft.pieces[index + 1])
            guard lower.owner != upper.owner, !lower.isMoved, !upper.isMoved,
                draft.hosts[lower.owner].state == .online, draft.hosts[upper.owner].state == .online,
                canJoin(lower, upper, limit: limit, budget: budget)
            else { continue }
            let costs = (policy.cost.of(lower.weight), policy.cost.of(upper.weight))
            pairs.append((index, costs.0 <= costs.1 ? index : index + 1, min(costs.0, costs.1)))
        }
        pairs.sort { $0.cost == $1.cost ? $0.index < $1.index : $0.cost < $1.cost }
        var left = count
        var used: Set<Int> = []
        for pair in pairs where left > 0 {
            let piece = draft.pieces[pair.mover]
            let stays = pair.mover == pair.index ? pair.index + 1 : pair.index
            let host = draft.pieces[stays].owner
            guard !used.contains(pair.index), !used.contains(pair.index + 1),
                own.allows(piece), meter.allows(piece),
                Double(draft.hosts[host].load + piece.load) <= settledLoad(draft.hosts[host], fair: fair)
            else { continue }
            used.insert(pair.index)
            used.insert(pair.index + 1)
            own.take(piece)
            meter.take(piece)
            draft.move(pair.mover, to: host)
            left -= 1
        }
    }

    /// Whether the two can be one slice that would neither be split again nor be too large for the budget.
    private func canJoin(_ lower: Piece, _ upper: Piece, limit: Double, budget: Budget) -> Bool {
        lower.grip == .free && upper.grip == .free
            && Double(lower.load + upper.load) <= limit
            && lower.weight.apps + upper.weight.apps <= budget.apps
            && lower.weight.bytes + upper.weight.bytes <= budget.bytes
            && lower.share + upper.share <= budget.keyShare
    }
}
