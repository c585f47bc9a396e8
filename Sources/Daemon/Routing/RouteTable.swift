import Proxy
import Synchronization

/// The routes of all apps by name.
///
/// An app's route changes in place, so a change costs the same with ten apps as with ten thousand;
/// ``ProxyServer/synchronize()`` tells when every loop has seen it.
final class RouteTable: Sendable {
    private final class Shard: Sendable {
        let cells = Mutex<[String: RouteCell]>([:])
    }

    // A few dozen, so that loops hardly ever meet at one.
    private let shards = (0..<64).map { _ in Shard() }

    subscript(name: String) -> RouteCell? {
        get { shards[Self.index(name)].cells.withLock { $0[name] } }
        set { shards[Self.index(name)].cells.withLock { $0[name] = newValue } }
    }

    private static func index(_ name: String) -> Int {
        var hash: UInt32 = 0x811c_9dc5
        for byte in name.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        return Int((hash ^ hash >> 16) & 63)
    }
}
