/// A slice while a round is at work on it.
struct Piece {
    /// What may be done with it by plan.
    enum Grip {
        case free
        /// Only taken off a draining host.
        case pinned
        /// Left alone.
        case inTransit
    }

    var first: UInt64
    var last: UInt64
    /// The index of its host in the draft.
    var owner: Int
    /// What was measured.
    var weight: Weight
    /// The measured load and the piece's part of the base load: what hosts are balanced by.
    var load: Int
    var grip = Grip.free
    /// Whether this round gave it to another host already; it is not moved twice.
    var isMoved = false

    var isSingleKey: Bool { first == last }
    var share: Double { Slice.share(first, last) }

    /// Takes over what holds for the piece that this one is a part of.
    mutating func inherit(from whole: Piece) {
        grip = whole.grip
        isMoved = whole.isMoved
    }
}

/// An assignment while a round is at work on it: the slices, and what they add up to on each host.
struct Draft {
    /// A host with what its pieces add up to.
    struct Host {
        let id: HostID
        let capacity: Double
        let state: HostState
        var load = 0
        /// The load of the hottest key on it that no move can help.
        var giant = 0

        /// The load in proportion to the capacity.
        var level: Double { Double(load) / capacity }

        /// The level if it were given more.
        func level(adding more: Int) -> Double { Double(load + more) / capacity }
    }

    /// The pieces in the order of their keys; they cover the whole hash space.
    var pieces: [Piece]
    /// All hosts, ascending: those that own a slice and those that could.
    private(set) var hosts: [Host]
    let loads: LoadMap
    /// The load that is spread evenly over the hash space.
    let baseLoad: Int

    init(_ situation: Situation, policy: Policy) {
        let assignment = situation.assignment
        var known: [HostID: HostStatus] = [:]
        for status in situation.hosts { known[status.id] = status }
        let names = Set(situation.hosts.map(\.id)).union(assignment.hosts).sorted()
        hosts = names.map { name in
            let capacity = Draft.capacity(known[name]?.capacity ?? 1)
            return Host(id: name, capacity: Double(capacity), state: known[name]?.state ?? .lost)
        }
        var numbers: [HostID: Int] = [:]
        for (number, name) in names.enumerated() { numbers[name] = number }
        var capacity = 0
        for host in hosts where host.state == .online { capacity += Int(host.capacity) }
        loads = situation.loads
        baseLoad = max(1, Int(policy.baseShare * Double(capacity)))
        pieces = []
        pieces.reserveCapacity(assignment.count)
        for index in assignment.starts.indices {
            let owner = numbers[assignment.hosts[assignment.owners[index]]] ?? 0
            let piece = piece(assignment.starts[index], assignment.last(at: index), owner: owner)
            hosts[owner].load += piece.load
            pieces.append(piece)
        }
        grip(situation.pinned, as: .pinned)
        grip(situation.inTransit, as: .inTransit)
    }

    /// The hosts that can be given slices by plan.
    var online: [Int] { hosts.indices.filter { hosts[$0].state == .online } }

    /// A piece of the hash space with its weight.
    func piece(_ first: UInt64, _ last: UInt64, owner: Int) -> Piece {
        let weight = loads.weight(first, last)
        return Piece(
            first: first,
            last: last,
            owner: owner,
            weight: weight,
            load: weight.load + (base(through: last) - (first == 0 ? 0 : base(through: first - 1)))
        )
    }

    /// Gives a piece to another host.
    mutating func move(_ index: Int, to host: Int) {
        hosts[pieces[index].owner].load -= pieces[index].load
        hosts[host].load += pieces[index].load
        pieces[index].owner = host
        pieces[index].isMoved = true
    }

    /// Notes the load of the keys that cannot be balanced.
    mutating func setGiants(_ giants: [(owner: Int, load: Int)]) {
        for index in hosts.indices { hosts[index].giant = 0 }
        for giant in giants { hosts[giant.owner].giant = max(hosts[giant.owner].giant, giant.load) }
    }

    /// The index of the piece that holds a key.
    func index(of key: UInt64) -> Int {
        var low = 0
        var high = pieces.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if pieces[middle].first <= key { low = middle } else { high = middle }
        }
        return low
    }

    /// The highest measured load in proportion to the fair one, among the hosts that are online.
    func maxToMean() -> Double {
        var measured = [Int](repeating: 0, count: hosts.count)
        for piece in pieces { measured[piece.owner] += piece.weight.load }
        var total = 0.0
        var capacity = 0.0
        var highest = 0.0
        for index in online {
            total += Double(measured[index])
            capacity += hosts[index].capacity
            highest = max(highest, Double(measured[index]) / hosts[index].capacity)
        }
        return total > 0 ? highest * capacity / total : 1
    }

    /// The base load of all keys up to and including the given one.
    private func base(through last: UInt64) -> Int {
        last == .max ? baseLoad : Int(UInt64(baseLoad).multipliedFullWidth(by: last + 1).high)
    }

    private mutating func grip(_ slices: [Slice], as grip: Piece.Grip) {
        for slice in slices {
            var index = index(of: slice.first.value)
            while index < pieces.count, pieces[index].first <= slice.last.value {
                pieces[index].grip = grip
                index += 1
            }
        }
    }

    /// Keeps sums of capacities far from overflowing.
    private static func capacity(_ given: Int) -> Int {
        min(max(1, given), 1 << 40)
    }
}
