import Control
import Proxy
import Slicer

/// Which host has which app: slices of the hash space, and the apps that are elsewhere than their slice.
///
/// It is immutable and replaced as a whole, so loops read it without a lock; a lookup is a hash, a probe and a binary
/// search, without an allocation.
struct ClusterRoutes: Sendable {
    /// Grows with every change; of two tables the higher one counts.
    let generation: Int
    /// The lowest key of each slice, ascending; the first is 0.
    private let starts: [UInt64]
    /// The owner of each slice, as an index into `places`.
    private let owners: [Int32]
    private let places: [Place]
    /// Apps on their way, or left where they were when their slice went elsewhere, as indices into `places`.
    private let exceptions: NameTable<Int32>

    /// Where an app is.
    enum Place: Sendable {
        /// On the host that asks, if there is such an app.
        case here
        /// On the host that asks, which has it or is about to get it: there is such an app.
        case awaited
        case peer(Peer)
    }

    /// The table as `host` sees it, with its peers from the directory.
    init(_ table: Control.RouteTable, host: Control.HostID, directory: PeerDirectory) {
        let indices = Dictionary(table.hosts.enumerated().map { ($1.id, Int32($0)) }) { first, _ in first }
        var places: [Place] = table.hosts.map {
            $0.id == host ? .here : .peer(directory.peer($0.id, at: $0.peer))
        }
        var unknown: [Control.HostID: Int32] = [:]
        exceptions = NameTable(
            Dictionary(
                uniqueKeysWithValues: table.exceptions.values.map { exception in
                    let known = exception.host == host ? nil : indices[exception.host]
                    if let index = known ?? unknown[exception.host] {
                        return (exception.app.rawValue, index)
                    }
                    // A host that is lost: requests for its apps wait until they are elsewhere.
                    let index = Int32(places.count)
                    places.append(
                        exception.host == host ? .awaited : .peer(directory.peer(exception.host, at: nil))
                    )
                    unknown[exception.host] = index
                    return (exception.app.rawValue, index)
                }
            )
        )
        generation = table.generation
        starts = table.starts
        owners = table.owners.map(Int32.init)
        self.places = places
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
