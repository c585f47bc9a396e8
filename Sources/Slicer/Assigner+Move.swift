extension Assigner {
    /// The load that a host is brought down to, and not filled above.
    func settledLoad(_ host: Draft.Host, fair: Double) -> Double {
        bound(host, fair: fair, ratio: policy.settleAt)
    }

    /// Takes load off the hosts that have too much, the worst first.
    func cool(_ draft: inout Draft, _ meter: inout BudgetMeter, fair: Double) {
        let online = draft.online
        guard online.count > 1, fair > 0 else { return }
        var lists = movable(draft)
        var hot = online.filter {
            Double(draft.hosts[$0].load) > bound(draft.hosts[$0], fair: fair, ratio: policy.startAbove)
        }
        while let source = worst(of: hot, in: draft, fair: fair) {
            let needed = Double(draft.hosts[source].load) - settledLoad(draft.hosts[source], fair: fair)
            if needed > 0,
                let choice = relief(for: source, needed: needed, in: draft, lists[source], meter, fair: fair)
            {
                let index = lists[source].remove(at: choice.position)
                meter.take(draft.pieces[index])
                draft.move(index, to: choice.host)
                let receiver = draft.hosts[choice.host]
                let most = bound(receiver, fair: fair, ratio: policy.startAbove)
                if Double(receiver.load) > most, !hot.contains(choice.host) { hot.append(choice.host) }
            } else {
                hot.removeAll { $0 == source }
            }
        }
    }

    /// Brings load to the hosts that have too little, such as new ones, the emptiest first.
    func fill(_ draft: inout Draft, _ meter: inout BudgetMeter, fair: Double) {
        let online = draft.online
        guard online.count > 1, fair > 0 else { return }
        var lists = movable(draft)
        let starved = online.filter { draft.hosts[$0].level < policy.starvedBelow * fair }
            .sorted { left, right in
                let (low, high) = (draft.hosts[left].level, draft.hosts[right].level)
                return low == high ? left < right : low < high
            }
        for host in starved {
            var sources = online.filter { $0 != host && draft.hosts[$0].giant == 0 }
            while let source = fullest(of: sources, in: draft) {
                let gap = policy.fillTo * fair * draft.hosts[host].capacity - Double(draft.hosts[host].load)
                guard gap > 0 else { break }
                let floor = (2 - policy.settleAt) * fair * draft.hosts[source].capacity
                let spare = Double(draft.hosts[source].load) - floor
                let room = settledLoad(draft.hosts[host], fair: fair) - Double(draft.hosts[host].load)
                let most = min(spare, room)
                var best: (position: Int, score: Double)?
                for (position, index) in lists[source].enumerated() {
                    let piece = draft.pieces[index]
                    guard Double(piece.load) <= most, meter.allows(piece) else { continue }
                    let score = min(Double(piece.load), gap) / policy.cost.of(piece.weight)
                    if score > (best?.score ?? 0) { best = (position, score) }
                }
                if let best {
                    let index = lists[source].remove(at: best.position)
                    meter.take(draft.pieces[index])
                    draft.move(index, to: host)
                } else {
                    sources.removeAll { $0 == source }
                }
            }
        }
    }

    /// The slice that takes the most load off the source for its cost, and the host that can have it.
    private func relief(
        for source: Int,
        needed: Double,
        in draft: Draft,
        _ list: [Int],
        _ meter: BudgetMeter,
        fair: Double
    ) -> (position: Int, host: Int)? {
        guard let places = places(in: draft, fair: fair) else { return nil }
        let coldest = draft.hosts[places.coldest]
        let coldRoom = settledLoad(coldest, fair: fair) - Double(coldest.load)
        let worthwhile = draft.hosts[source].level - policy.leastGain * fair
        let giant = draft.hosts[source].giant
        var best: (position: Int, host: Int, score: Double)?
        for (position, index) in list.enumerated() {
            let piece = draft.pieces[index]
            let load = Double(piece.load)
            guard meter.allows(piece), giant == 0 || piece.weight.load < giant else { continue }
            let host: Int
            if load <= coldRoom {
                host = places.coldest
            } else if load <= places.room {
                host = places.roomiest
            } else if coldest.level(adding: piece.load) <= worthwhile {
                host = places.coldest
            } else {
                continue
            }
            let score = min(load, needed) / policy.cost.of(piece.weight)
            if score > (best?.score ?? 0) { best = (position, host, score) }
        }
        return best.map { ($0.position, $0.host) }
    }

    /// The online host with the lowest level, and the one with the most room in absolute terms.
    private func places(
        in draft: Draft,
        fair: Double
    ) -> (coldest: Int, roomiest: Int, room: Double)? {
        var coldest: (host: Int, level: Double)?
        var roomiest: (host: Int, room: Double)?
        for (index, host) in draft.hosts.enumerated() where host.state == .online {
            if host.level < (coldest?.level ?? .infinity) { coldest = (index, host.level) }
            let room = settledLoad(host, fair: fair) - Double(host.load)
            if room > (roomiest?.room ?? -.infinity) { roomiest = (index, room) }
        }
        guard let coldest, let roomiest else { return nil }
        return (coldest.host, roomiest.host, roomiest.room)
    }

    /// The host that is the furthest above what it is to settle at.
    private func worst(of candidates: [Int], in draft: Draft, fair: Double) -> Int? {
        var best: (host: Int, excess: Double)?
        for host in candidates {
            let entry = draft.hosts[host]
            let excess = (Double(entry.load) - settledLoad(entry, fair: fair)) / entry.capacity
            if excess > (best?.excess ?? -.infinity) { best = (host, excess) }
        }
        return best?.host
    }

    private func fullest(of candidates: [Int], in draft: Draft) -> Int? {
        var best: (host: Int, level: Double)?
        for host in candidates {
            let level = draft.hosts[host].level
            if level > (best?.level ?? -.infinity) { best = (host, level) }
        }
        return best?.host
    }

    /// What each host could give away in this round.
    private func movable(_ draft: Draft) -> [[Int]] {
        var lists = [[Int]](repeating: [], count: draft.hosts.count)
        for (index, piece) in draft.pieces.enumerated() where piece.grip == .free && !piece.isMoved {
            lists[piece.owner].append(index)
        }
        return lists
    }

    /// A host with a giant has its share of nothing else: only what the ratio leaves above a fair load.
    private func bound(_ host: Draft.Host, fair: Double, ratio: Double) -> Double {
        host.giant > 0
            ? Double(host.giant) + (ratio - 1) * fair * host.capacity : ratio * fair * host.capacity
    }
}
