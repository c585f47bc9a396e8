extension Assigner {
    /// Gives the slices of lost hosts to the others, the heaviest first, each to the host that is then the
    /// least loaded.
    ///
    /// Returns how many could not be given away.
    func rescue(_ draft: inout Draft) -> Int {
        let lost = draft.pieces.indices.filter { draft.hosts[draft.pieces[$0].owner].state == .lost }
        guard !lost.isEmpty else { return 0 }
        var receivers = draft.online
        if receivers.isEmpty {
            // Being served by a host that is about to leave is better than not being served.
            receivers = draft.hosts.indices.filter { draft.hosts[$0].state == .draining }
        }
        guard !receivers.isEmpty else { return lost.count }
        for index in heaviestFirst(lost, in: draft) {
            if let host = coolest(of: receivers, in: draft, adding: draft.pieces[index].load) {
                draft.move(index, to: host)
            }
        }
        return 0
    }

    /// Gives as many slices of draining hosts away as the budget allows, the heaviest first.
    func drain(_ draft: inout Draft, _ meter: inout BudgetMeter) {
        let receivers = draft.online
        guard !receivers.isEmpty else { return }
        let waiting = draft.pieces.indices.filter { index in
            let piece = draft.pieces[index]
            return draft.hosts[piece.owner].state == .draining && piece.grip != .inTransit && !piece.isMoved
        }
        for index in heaviestFirst(waiting, in: draft) where meter.allows(draft.pieces[index]) {
            guard let host = coolest(of: receivers, in: draft, adding: draft.pieces[index].load) else {
                return
            }
            meter.take(draft.pieces[index])
            draft.move(index, to: host)
        }
    }

    /// The host that would have the lowest level with so much more load; the first of several.
    func coolest(of candidates: [Int], in draft: Draft, adding load: Int) -> Int? {
        var best: (host: Int, level: Double)?
        for host in candidates {
            let level = draft.hosts[host].level(adding: load)
            if level < (best?.level ?? .infinity) { best = (host, level) }
        }
        return best?.host
    }

    private func heaviestFirst(_ indices: [Int], in draft: Draft) -> [Int] {
        indices.sorted { left, right in
            let (heavy, light) = (draft.pieces[left].load, draft.pieces[right].load)
            return heavy == light ? left < right : heavy > light
        }
    }
}
