import Control
import Proxy
import Slicer

/// Which host has which app: slices of the hash space, and the apps that are elsewhere than their slice.
///
/// It is immutable and replaced as a whole, so loops read it without a lock; a lookup is a hash, a probe and a binary
/// search, without an allocation.
struct ClusterRoutes: Sendable {
    /// Grows with every change; of two tables the higher one counts.
    let generation: UInt64
    /// The lowest key of each slice, ascending; the first is 0.
    private let starts: [UInt64]
    /// The owner of each slice, as an index into `places`.
    private let owners: [Int32]
    private let places: [Place]
    /// Apps on their way, or left where they were when their slice went elsewhere, as indices into `places`.
    private let exceptions: NameTable<Int32>

    /// Where an app is.
    enum Place: Sendable {
        /// On the host that asks.
        case here
        case peer(Peer)
    }

    /// Makes a table.
    ///
    /// - Throws: ``MartletError`` with code `bad_request` that names the first fault.
    init(
        generation: UInt64,
        starts: [UInt64],
        owners: [Int],
        places: [Place],
        exceptions: [String: Int]
    ) throws(MartletError) {
        func invalid(_ fault: String) -> MartletError {
            MartletError(.badRequest, "take routes \(generation): \(fault); fetch them again from the control process")
        }
        guard starts.count == owners.count else {
            throw invalid("they have \(starts.count) slices and \(owners.count) owners")
        }
        guard starts.first ?? 0 == 0 else { throw invalid("their first slice begins above 0") }
        for index in starts.indices.dropFirst() where starts[index] <= starts[index - 1] {
            throw invalid("slice \(index) does not begin above the one before it")
        }
        guard owners.allSatisfy(places.indices.contains), exceptions.values.allSatisfy(places.indices.contains)
        else { throw invalid("they name a host that is not in their list") }
        self.generation = generation
        self.starts = starts
        self.owners = owners.map(Int32.init)
        self.places = places
        self.exceptions = NameTable(exceptions.mapValues(Int32.init))
    }

    /// Where the app of this name is; nil when nobody has its slice.
    func place(of name: UnsafeBufferPointer<UInt8>) -> Place? {
        if let exception = exceptions[name] { return places[Int(exception)] }
        guard !starts.isEmpty else { return nil }
        let key = Key(hashing: name).value
        var (low, high) = (0, starts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= key { low = middle } else { high = middle }
        }
        return places[Int(owners[low])]
    }

    func place(of app: ApplicationID) -> Place? {
        var name = app.rawValue
        return name.withUTF8 { place(of: $0) }
    }

    /// The other hosts that the table names.
    var peers: [Peer] {
        places.compactMap { if case .peer(let peer) = $0 { peer } else { nil } }
    }
}
