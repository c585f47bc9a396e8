extension Assigner {
    /// Cuts slices that are too hot, or too large for the budget to ever move, without moving anything.
    ///
    /// Returns the number of cuts.
    func split(_ draft: inout Draft, budget: Budget) -> Int {
        let online = draft.online
        guard !online.isEmpty else { return 0 }
        let limit = hotSliceLimit(draft)
        var hot: [Int] = []
        for index in draft.pieces.indices where isTooLarge(draft.pieces[index], limit: limit, budget: budget)
        {
            hot.append(index)
        }
        guard !hot.isEmpty else { return 0 }
        hot.sort { left, right in
            let (heavy, light) = (draft.pieces[left].load, draft.pieces[right].load)
            return heavy == light ? left < right : heavy > light
        }
        var allowance = policy.maximumSlicesPerHost * online.count - draft.pieces.count
        var parts: [Int: [Piece]] = [:]
        for index in hot {
            // A slice that is too large for the budget would stay where it is for ever, however many there are.
            var unlimited = Int.max
            let divided =
                isUnmovable(draft.pieces[index], budget: budget)
                ? divide(draft.pieces[index], in: draft, limit: .max, budget: budget, &unlimited)
                : divide(draft.pieces[index], in: draft, limit: limit, budget: budget, &allowance)
            if divided.count > 1 { parts[index] = divided }
        }
        guard !parts.isEmpty else { return 0 }
        let count = draft.pieces.count
        var pieces: [Piece] = []
        pieces.reserveCapacity(count + parts.count)
        for (index, piece) in draft.pieces.enumerated() {
            if let divided = parts[index] { pieces.append(contentsOf: divided) } else { pieces.append(piece) }
        }
        draft.pieces = pieces
        return pieces.count - count
    }

    /// What an average slice weighs when the load is fair.
    func averageSlice(_ draft: Draft) -> Double {
        let total = draft.hosts.reduce(0) { $0 + $1.load }
        return Double(total) / Double(max(1, draft.online.count * policy.slicesPerHost))
    }

    private func hotSliceLimit(_ draft: Draft) -> Int {
        max(2, Int(policy.hotSliceFactor * averageSlice(draft)))
    }

    private func isTooLarge(_ piece: Piece, limit: Int, budget: Budget) -> Bool {
        guard !piece.isSingleKey else { return false }
        return switch piece.grip {
        case .free: piece.load > limit || isUnmovable(piece, budget: budget)
        // A part of what is pinned is pinned too, and must be able to leave a draining host.
        case .pinned: isUnmovable(piece, budget: budget)
        case .inTransit: false
        }
    }

    private func isUnmovable(_ piece: Piece, budget: Budget) -> Bool {
        (piece.weight.apps > budget.apps && budget.apps > 0)
            || (piece.weight.bytes > budget.bytes && budget.bytes > 0)
            || (piece.share > budget.keyShare && budget.keyShare > 0)
    }

    /// Cuts a slice in halves, and the halves, until each is small enough or a single key.
    private func divide(
        _ whole: Piece,
        in draft: Draft,
        limit: Int,
        budget: Budget,
        _ allowance: inout Int
    ) -> [Piece] {
        var done: [Piece] = []
        var open = [whole]
        while let piece = open.popLast() {
            guard allowance > 0, isTooLarge(piece, limit: limit, budget: budget) else {
                done.append(piece)
                continue
            }
            let key = cut(piece, in: draft, limit: limit, budget: budget)
            allowance -= 1
            var upper = draft.piece(key, piece.last, owner: piece.owner)
            var lower = draft.piece(piece.first, key - 1, owner: piece.owner)
            upper.inherit(from: piece)
            lower.inherit(from: piece)
            open.append(upper)
            open.append(lower)
        }
        return done
    }

    /// The first key of the upper half, by the measure that makes the slice too large.
    private func cut(_ piece: Piece, in draft: Draft, limit: Int, budget: Budget) -> UInt64 {
        let middle = piece.first + (piece.last - piece.first) / 2 + 1
        let key: UInt64? =
            if piece.load > limit {
                // Where the base load prevails, halving the keys halves the load.
                2 * piece.weight.load < piece.load
                    ? middle : draft.loads.cut(piece.first, piece.last, by: \.load)
            } else if piece.weight.apps > budget.apps {
                draft.loads.cut(piece.first, piece.last, by: \.apps)
            } else if piece.weight.bytes > budget.bytes {
                draft.loads.cut(piece.first, piece.last, by: \.bytes)
            } else {
                middle
            }
        return key ?? middle
    }
}
