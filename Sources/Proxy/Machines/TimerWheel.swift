/// Finds the connections whose deadline may have passed, at a cost that does not depend on how many there are.
///
/// One entry for each small number (a descriptor). A deadline that moves later costs nothing: the owner notes it, and
/// when the entry comes up, schedules it anew. Only a deadline before the entry moves the entry. Times are ticks.
struct TimerWheel {
    static let bucketCount = 512

    private var heads = [Int32](repeating: -1, count: bucketCount)
    private var occupied = [UInt64](repeating: 0, count: bucketCount / 64)
    private var next: [Int32] = []
    private var previous: [Int32] = []
    /// The tick at which an entry comes up; 0 when it is not scheduled.
    private var due: [UInt64] = []
    private var now: UInt64
    private(set) var count = 0

    init(now: UInt64) { self.now = max(now, 1) }

    /// Makes sure that the entry comes up at `tick` or before, and not before the next tick.
    @inline(__always)
    mutating func schedule(_ entry: Int32, at tick: UInt64) {
        let index = Int(entry)
        if index < due.count && due[index] != 0 && due[index] <= tick { return }
        insert(entry, at: tick)
    }

    private mutating func insert(_ entry: Int32, at tick: UInt64) {
        let index = Int(entry)
        while index >= due.count {
            let more = max(64, due.count)
            due.append(contentsOf: repeatElement(0, count: more))
            next.append(contentsOf: repeatElement(-1, count: more))
            previous.append(contentsOf: repeatElement(-1, count: more))
        }
        if due[index] != 0 { cancel(entry) }
        // Later than one turn of the wheel: it comes up at the end of the turn and is scheduled again.
        let at = min(max(tick, now + 1), now + UInt64(Self.bucketCount) - 1)
        let bucket = Int(at % UInt64(Self.bucketCount))
        due[index] = at
        previous[index] = -1
        next[index] = heads[bucket]
        if heads[bucket] >= 0 { previous[Int(heads[bucket])] = entry }
        heads[bucket] = entry
        occupied[bucket >> 6] |= 1 << UInt64(bucket & 63)
        count += 1
    }

    mutating func cancel(_ entry: Int32) {
        let index = Int(entry)
        guard index < due.count, due[index] != 0 else { return }
        let bucket = Int(due[index] % UInt64(Self.bucketCount))
        if previous[index] >= 0 {
            next[Int(previous[index])] = next[index]
        } else {
            heads[bucket] = next[index]
            if next[index] < 0 { occupied[bucket >> 6] &= ~(1 << UInt64(bucket & 63)) }
        }
        if next[index] >= 0 { previous[Int(next[index])] = previous[index] }
        due[index] = 0
        count -= 1
    }

    /// Moves to `tick` and takes out the entries that came up.
    mutating func advance(to tick: UInt64, into entries: inout [Int32]) {
        guard tick > now else { return }
        let last = min(tick, now + UInt64(Self.bucketCount))
        for step in (now + 1)...last {
            let bucket = Int(step % UInt64(Self.bucketCount))
            guard occupied[bucket >> 6] & (1 << UInt64(bucket & 63)) != 0 else { continue }
            var entry = heads[bucket]
            while entry >= 0 {
                let following = next[Int(entry)]
                due[Int(entry)] = 0
                count -= 1
                entries.append(entry)
                entry = following
            }
            heads[bucket] = -1
            occupied[bucket >> 6] &= ~(1 << UInt64(bucket & 63))
        }
        now = tick
    }

    /// The next tick at which an entry comes up, or nil when there is none.
    var nextTick: UInt64? {
        guard count > 0 else { return nil }
        let start = now + 1
        var offset = 0
        while offset < Self.bucketCount {
            let bucket = Int((start + UInt64(offset)) % UInt64(Self.bucketCount))
            let word = occupied[bucket >> 6] >> UInt64(bucket & 63)
            if word != 0 { return start + UInt64(offset + word.trailingZeroBitCount) }
            offset += 64 - (bucket & 63)
        }
        return nil
    }
}
