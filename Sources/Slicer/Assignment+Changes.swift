extension Assignment {
    /// A part of the hash space that two assignments give to different hosts.
    package struct Move: Hashable, Sendable {
        /// The keys that move.
        package let slice: Slice
        /// The owner in the earlier assignment.
        package let source: HostID
        /// The owner in the later assignment.
        package let destination: HostID

        /// Puts the three together.
        package init(_ slice: Slice, from source: HostID, to destination: HostID) {
            self.slice = slice
            self.source = source
            self.destination = destination
        }
    }

    /// What to change in one assignment to have another: small where few slices differ.
    package struct Delta: Hashable, Sendable {
        /// The generation that the delta applies to.
        package let base: Generation
        /// The generation that it leads to.
        package let generation: Generation
        /// The slices that the earlier assignment does not have in this form, in the order of the keys.
        package let placements: [Placement]

        /// Takes a delta that was sent.
        package init(base: Generation, generation: Generation, placements: [Placement]) {
            self.base = base
            self.generation = generation
            self.placements = placements
        }
    }

    /// What has to move to get from `earlier` to this assignment, in the order of the keys.
    ///
    /// Neighbouring keys with the same source and destination are one move, however they are sliced.
    package func moves(from earlier: Assignment) -> [Move] {
        var result: [Move] = []
        var old = 0
        var new = 0
        var first: UInt64 = 0
        while true {
            let last = min(earlier.last(at: old), self.last(at: new))
            let source = earlier.hosts[earlier.owners[old]]
            let destination = hosts[owners[new]]
            if source != destination {
                if let previous = result.last, previous.source == source, previous.destination == destination,
                    previous.slice.last.value &+ 1 == first, first > 0
                {
                    result.removeLast()
                    let joined = Slice(uncheckedFirst: previous.slice.first.value, last: last)
                    result.append(Move(joined, from: source, to: destination))
                } else {
                    result.append(
                        Move(Slice(uncheckedFirst: first, last: last), from: source, to: destination)
                    )
                }
            }
            guard last < .max else { return result }
            if earlier.last(at: old) == last { old += 1 }
            if self.last(at: new) == last { new += 1 }
            first = last + 1
        }
    }

    /// What to send to whoever holds `earlier`.
    package func delta(from earlier: Assignment) -> Delta {
        var changed: [Placement] = []
        var old = 0
        for index in starts.indices {
            while earlier.last(at: old) < starts[index] { old += 1 }
            let same =
                earlier.starts[old] == starts[index] && earlier.last(at: old) == last(at: index)
                && earlier.hosts[earlier.owners[old]] == hosts[owners[index]]
            if !same { changed.append(Placement(slice(at: index), on: hosts[owners[index]])) }
        }
        return Delta(base: earlier.generation, generation: generation, placements: changed)
    }

    /// This assignment after a delta.
    ///
    /// - Throws: `SlicerError` with code `.wrongGeneration` if the delta starts from another generation or
    ///   does not lead to a later one, `.invalidAssignment` if the result would have a gap or an overlap.
    package func applying(_ delta: Delta) throws(SlicerError) -> Assignment {
        guard delta.base == generation, delta.generation > generation else {
            throw SlicerError(
                .wrongGeneration,
                "apply a delta from generation \(delta.base) to \(delta.generation) to assignment \(generation): "
                    + "it does not follow; fetch the whole assignment"
            )
        }
        var result: [Placement] = []
        var next = delta.placements.startIndex
        for placement in placements {
            while next < delta.placements.endIndex, delta.placements[next].slice.first <= placement.slice.last
            {
                result.append(delta.placements[next])
                next += 1
            }
            let covered = result.last.map { $0.slice.overlaps(placement.slice) } ?? false
            if !covered { result.append(placement) }
        }
        result.append(contentsOf: delta.placements[next...])
        return try Assignment(generation: delta.generation, placements: result)
    }

    /// The next assignment, with one slice on another host and everything else as it is.
    ///
    /// This is the move that a person asks for: `Slice(key)` moves one app. Hand the slice to the following
    /// rounds as pinned, or they may move it again for balance.
    package func placing(_ slice: Slice, on host: HostID) -> Assignment {
        var result: [Placement] = []
        for placement in placements {
            guard placement.slice.overlaps(slice) else {
                result.append(placement)
                continue
            }
            let first = placement.slice.first.value
            let last = placement.slice.last.value
            if first < slice.first.value {
                let before = Slice(uncheckedFirst: first, last: slice.first.value - 1)
                result.append(Placement(before, on: placement.host))
            }
            if result.last?.slice != slice { result.append(Placement(slice, on: host)) }
            if last > slice.last.value {
                let after = Slice(uncheckedFirst: slice.last.value + 1, last: last)
                result.append(Placement(after, on: placement.host))
            }
        }
        let table = Assignment.table(result.map(\.host))
        return Assignment(
            uncheckedGeneration: generation.next,
            hosts: table.hosts,
            starts: result.map(\.slice.first.value),
            owners: table.owners
        )
    }
}
