extension LoadMap {
    /// A smaller map of about the same load: hot keys by themselves, the rest in ranges.
    ///
    /// A host with thousands of apps reports this much instead of every app. Weights are kept exactly; only
    /// where in a range they lie becomes blurred.
    ///
    /// - Parameters:
    ///   - slices: what to keep apart, ascending, usually the host's slices. Cells that are in none of them,
    ///     or in more than one, are kept as they are.
    ///   - parts: into how many parts of equal size to divide each slice, at least 1. Four are enough to
    ///     split a slice well.
    ///   - hot: the load from which on a single key stays a cell of its own.
    /// - Returns: the smaller map, of the same total weight.
    package func summary(along slices: [Slice], parts: Int, hot: Int) -> LoadMap {
        var kept: [Cell] = []
        var merged: Cell?
        var position = 0
        func flush() {
            if let cell = merged { kept.append(cell) }
            merged = nil
        }
        for cell in cells {
            while position < slices.count, slices[position].last < cell.slice.first { position += 1 }
            let alone = cell.slice.isSingleKey && cell.weight.load >= hot
            guard !alone, position < slices.count,
                let part = LoadMap.part(of: slices[position], parts: parts, holding: cell.slice)
            else {
                flush()
                kept.append(cell)
                continue
            }
            if let open = merged, open.slice.first >= part.first {
                let joined = Slice(uncheckedFirst: open.slice.first.value, last: cell.slice.last.value)
                merged = Cell(joined, open.weight + cell.weight)
            } else {
                flush()
                merged = cell
            }
        }
        flush()
        // Cells that were disjoint and added up once stay so: this cannot fail.
        return LoadMap(uncheckedDisjoint: kept)
    }

    private static func part(of slice: Slice, parts: Int, holding cell: Slice) -> Slice? {
        guard slice.first <= cell.first, cell.last <= slice.last else { return nil }
        let step = (slice.last.value - slice.first.value) / UInt64(max(1, parts)) &+ 1
        guard step > 0 else { return slice }
        let number = (cell.first.value - slice.first.value) / step
        let first = slice.first.value + number * step
        let last = slice.last.value - first < step ? slice.last.value : first + (step - 1)
        guard cell.last.value <= last else { return nil }
        return Slice(uncheckedFirst: first, last: last)
    }
}
