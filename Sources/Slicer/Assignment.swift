/// Which host owns which slice of the hash space, at one generation.
///
/// A value of this type is always whole: its slices follow each other from key 0 to key 2^64 - 1 without a
/// gap or an overlap, and each belongs to a host in its table. It is held as three plain arrays, so that a
/// lookup is one binary search and other modules can store and send it as they like: `init` checks whatever
/// they bring back.
package struct Assignment: Hashable, Sendable {
    /// One slice and its owner.
    package struct Placement: Hashable, Sendable {
        /// The part of the hash space.
        package let slice: Slice
        /// The host that owns it.
        package let host: HostID

        /// Puts the two together.
        package init(_ slice: Slice, on host: HostID) {
            self.slice = slice
            self.host = host
        }
    }

    /// The number of this assignment.
    package let generation: Generation
    /// The hosts that own a slice, ascending.
    package let hosts: [HostID]
    /// The lowest key of each slice, ascending; the first is 0.
    package let starts: [UInt64]
    /// The owner of each slice, as an index into `hosts`.
    package let owners: [Int]

    /// Checks and takes an assignment that was stored or sent.
    ///
    /// - Throws: `SlicerError` with code `.invalidAssignment` that names the first fault.
    package init(
        generation: Generation,
        hosts: [HostID],
        starts: [UInt64],
        owners: [Int]
    ) throws(SlicerError) {
        func invalid(_ fault: String) -> SlicerError {
            SlicerError(
                .invalidAssignment,
                "take assignment \(generation): \(fault); fetch the assignment again from its source"
            )
        }
        guard let start = starts.first else { throw invalid("it has no slices") }
        guard start == 0 else {
            throw invalid("its first slice starts at \(Key(start)), so that the keys below have no owner")
        }
        guard starts.count == owners.count else {
            throw invalid("it has \(starts.count) slices and \(owners.count) owners")
        }
        for index in starts.indices.dropFirst() where starts[index] <= starts[index - 1] {
            throw invalid("slice \(index) starts at \(Key(starts[index])), not above the slice before it")
        }
        for index in hosts.indices.dropFirst() where hosts[index] <= hosts[index - 1] {
            throw invalid("its hosts are not in ascending order without repeats at \(hosts[index])")
        }
        var used = [Bool](repeating: false, count: hosts.count)
        for (index, owner) in owners.enumerated() {
            guard hosts.indices.contains(owner) else {
                throw invalid("slice \(index) belongs to host number \(owner) of \(hosts.count)")
            }
            used[owner] = true
        }
        if let unused = used.firstIndex(of: false) {
            throw invalid("host \(hosts[unused]) is in its table without a slice")
        }
        self.init(uncheckedGeneration: generation, hosts: hosts, starts: starts, owners: owners)
    }

    /// Checks and takes an assignment that is written as a list.
    ///
    /// - Throws: `SlicerError` with code `.invalidAssignment` if the slices, in this order, do not cover the
    ///   whole hash space without gap or overlap.
    package init(generation: Generation, placements: [Placement]) throws(SlicerError) {
        var expected: UInt64? = 0
        for placement in placements {
            guard placement.slice.first.value == expected else {
                throw SlicerError(
                    .invalidAssignment,
                    "take assignment \(generation): slice \(placement.slice) should start at "
                        + "\(expected.map { Key($0).description } ?? "no key, as the slice before it is the last"); "
                        + "fetch the assignment again from its source"
                )
            }
            let last = placement.slice.last.value
            expected = last == .max ? nil : last + 1
        }
        guard expected == nil else {
            throw SlicerError(
                .invalidAssignment,
                "take assignment \(generation): the keys from \(Key(expected ?? 0)) on have no owner; "
                    + "fetch the assignment again from its source"
            )
        }
        let table = Assignment.table(placements.map(\.host))
        self.init(
            uncheckedGeneration: generation,
            hosts: table.hosts,
            starts: placements.map(\.slice.first.value),
            owners: table.owners
        )
    }

    init(uncheckedGeneration generation: Generation, hosts: [HostID], starts: [UInt64], owners: [Int]) {
        self.generation = generation
        self.hosts = hosts
        self.starts = starts
        self.owners = owners
    }

    /// The number of slices, at least 1.
    package var count: Int { starts.count }

    /// The host that owns the key.
    package func owner(of key: Key) -> HostID { hosts[owners[index(of: key)]] }

    /// The slice that holds the key.
    package func slice(of key: Key) -> Slice { slice(at: index(of: key)) }

    /// Every slice with its owner, in the order of the keys.
    package var placements: [Placement] {
        starts.indices.map { Placement(slice(at: $0), on: hosts[owners[$0]]) }
    }

    /// The slices of one host, in the order of the keys.
    package func slices(of host: HostID) -> [Slice] {
        guard let number = hosts.firstIndex(of: host) else { return [] }
        return owners.indices.lazy.filter { owners[$0] == number }.map { slice(at: $0) }
    }

    /// The same slices under another number.
    package func renumbered(_ generation: Generation) -> Assignment {
        Assignment(uncheckedGeneration: generation, hosts: hosts, starts: starts, owners: owners)
    }

    /// The position of the slice that holds the key.
    func index(of key: Key) -> Int {
        var low = 0
        var high = starts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= key.value { low = middle } else { high = middle }
        }
        return low
    }

    func last(at index: Int) -> UInt64 {
        index + 1 < starts.count ? starts[index + 1] - 1 : .max
    }

    func slice(at index: Int) -> Slice {
        Slice(uncheckedFirst: starts[index], last: last(at: index))
    }

    /// Turns names into an ascending table and indices into it.
    static func table(_ names: [HostID]) -> (hosts: [HostID], owners: [Int]) {
        let hosts = Set(names).sorted()
        let numbers = Dictionary(uniqueKeysWithValues: hosts.enumerated().map { ($0.element, $0.offset) })
        return (hosts, names.compactMap { numbers[$0] })
    }
}
