/// The load of the whole hash space at one moment, as measured.
///
/// It is made of cells: a cell of one key is an app whose weight is known by itself, a cell of many keys is
/// the sum of the apps in a range, taken to be spread evenly over it. Both may be mixed: hosts report the
/// hot apps one by one and the rest in ranges, and need not know the current slices. Keys in no cell weigh
/// nothing.
package struct LoadMap: Hashable, Sendable {
    /// A measured part of the hash space.
    package struct Cell: Hashable, Sendable {
        /// The keys.
        package var slice: Slice
        /// What they weigh together.
        package var weight: Weight

        /// Puts the two together.
        package init(_ slice: Slice, _ weight: Weight) {
            self.slice = slice
            self.weight = weight
        }
    }

    /// The cells in the order of their keys; no two overlap.
    package let cells: [Cell]
    /// `before[i]` is the weight of the cells before cell `i`; the last element is that of all cells.
    private let before: [Weight]

    /// Takes measurements in any order, as they come from many hosts.
    ///
    /// Where cells overlap their weights are added: an app counted by its old and its new host during a move
    /// is counted twice for that round, which errs on the safe side.
    ///
    /// - Throws: `SlicerError` with code `.invalidLoad` if a number is negative or a sum overflows.
    package init(_ measured: [Cell]) throws(SlicerError) {
        for cell in measured
        where cell.weight.load < 0 || cell.weight.apps < 0 || cell.weight.bytes < 0 {
            throw SlicerError(
                .invalidLoad,
                "take the load of slice \(cell.slice): load \(cell.weight.load), apps \(cell.weight.apps), "
                    + "bytes \(cell.weight.bytes); none may be negative, so check the host that reported it"
            )
        }
        var sum = Weight.zero
        for cell in measured {
            guard let next = sum.adding(cell.weight), next.isWithinLimit else {
                throw SlicerError(
                    .invalidLoad,
                    "add up \(measured.count) loads: the sum at slice \(cell.slice) is above \(Weight.limit); "
                        + "use a larger unit"
                )
            }
            sum = next
        }
        let ordered = measured.sorted(by: LoadMap.precedes)
        self.init(uncheckedDisjoint: LoadMap.disjoint(ordered))
    }

    /// A map in which nothing weighs anything, for a cluster that has not been measured.
    package static let empty = LoadMap(uncheckedDisjoint: [])

    init(uncheckedDisjoint cells: [Cell]) {
        self.cells = cells
        var running = Weight.zero
        var before: [Weight] = []
        before.reserveCapacity(cells.count + 1)
        for cell in cells {
            before.append(running)
            running += cell.weight
        }
        before.append(running)
        self.before = before
    }

    /// The weight of all cells.
    package var total: Weight { before[cells.count] }

    /// The weight of a slice; a cell that is cut weighs in proportion to its keys, rounded down at each end.
    ///
    /// The weights of slices that make up a larger one add up to exactly its weight.
    package func weight(of slice: Slice) -> Weight {
        weight(slice.first.value, slice.last.value)
    }

    func weight(_ first: UInt64, _ last: UInt64) -> Weight {
        (last == .max ? total : weight(below: last + 1)) - weight(below: first)
    }

    /// The weight of all keys below the given one.
    private func weight(below key: UInt64) -> Weight {
        let index = firstIndex { cells[$0].slice.last.value >= key }
        guard index < cells.count else { return total }
        let first = cells[index].slice.first.value
        guard first < key else { return before[index] }
        let distance = cells[index].slice.last.value - first
        return before[index] + cells[index].weight.part(key - first, ofDistance: distance)
    }

    /// Where to cut a slice so that both parts weigh about the same: the first key of the upper part.
    ///
    /// Nil if the slice is a single key or weighs nothing in this measure.
    func cut(_ first: UInt64, _ last: UInt64, by measure: KeyPath<Weight, Int>) -> UInt64? {
        let whole = weight(first, last)[keyPath: measure]
        guard first < last, whole > 0 else { return nil }
        let base = weight(below: first)[keyPath: measure]
        let goal = base + (whole + 1) / 2
        let index = firstIndex { before[$0 + 1][keyPath: measure] >= goal }
        guard index < cells.count else { return nil }
        let cell = cells[index]
        let start = max(cell.slice.first.value, first)
        let end = min(cell.slice.last.value, last)
        var candidates = [start]
        if end < last { candidates.append(end + 1) }
        if start < end {
            let inside = weight(start, end)[keyPath: measure]
            let missing = goal - weight(below: start)[keyPath: measure]
            let fraction = Double(max(0, missing)) / Double(max(1, inside))
            let steps = fraction * Double(end - start)
            let offset = steps < Double(end - start) ? UInt64(steps) : end - start
            candidates.append(start + max(1, offset))
        }
        var best: (key: UInt64, difference: Int)?
        for key in candidates where key > first && key <= last {
            let lower = weight(first, key - 1)[keyPath: measure]
            let difference = abs(whole - 2 * lower)
            if difference < (best?.difference ?? .max) { best = (key, difference) }
        }
        return best?.key
    }

    /// The first index for which the condition holds, given that it holds for all after it.
    private func firstIndex(where condition: (Int) -> Bool) -> Int {
        var low = 0
        var high = cells.count
        while low < high {
            let middle = (low + high) / 2
            if condition(middle) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

extension LoadMap {
    private static func precedes(_ left: Cell, _ right: Cell) -> Bool {
        if left.slice.first != right.slice.first { return left.slice.first < right.slice.first }
        if left.slice.last != right.slice.last { return left.slice.last < right.slice.last }
        return (left.weight.load, left.weight.apps, left.weight.bytes)
            < (right.weight.load, right.weight.apps, right.weight.bytes)
    }

    /// Adds up what overlaps.
    ///
    /// The cells come ordered by their first key.
    private static func disjoint(_ ordered: [Cell]) -> [Cell] {
        var result: [Cell] = []
        result.reserveCapacity(ordered.count)
        var index = 0
        while index < ordered.count {
            var end = ordered[index].slice.last
            var next = index + 1
            while next < ordered.count, ordered[next].slice.first <= end {
                end = max(end, ordered[next].slice.last)
                next += 1
            }
            if next == index + 1 {
                result.append(ordered[index])
            } else {
                result.append(contentsOf: pieces(of: ordered[index..<next], end: end))
            }
            index = next
        }
        return result
    }

    /// Cuts overlapping cells at each other's ends and adds up what lies on the same keys.
    private static func pieces(of cells: ArraySlice<Cell>, end: Key) -> [Cell] {
        var starts: Set<UInt64> = []
        for cell in cells {
            starts.insert(cell.slice.first.value)
            if cell.slice.last < end { starts.insert(cell.slice.last.value + 1) }
        }
        let ordered = starts.sorted()
        var result = ordered.indices.map { index in
            let last = index + 1 < ordered.count ? ordered[index + 1] - 1 : end.value
            return Cell(Slice(uncheckedFirst: ordered[index], last: last), .zero)
        }
        var lowest = 0
        for cell in cells {
            let first = cell.slice.first.value
            let distance = cell.slice.last.value - first
            while ordered[lowest] < first { lowest += 1 }
            var index = lowest
            var counted = Weight.zero
            while index < result.count, result[index].slice.last <= cell.slice.last {
                let upTo = result[index].slice.last.value - first
                let sum = upTo == distance ? cell.weight : cell.weight.part(upTo + 1, ofDistance: distance)
                result[index].weight += sum - counted
                counted = sum
                index += 1
            }
        }
        return result
    }
}
