/// An immutable table from host names to values, looked up without an allocation.
///
/// Whole names are compared.
public struct NameTable<Value: Sendable>: Sendable {
    private let names: [UInt8]
    private let ranges: [(start: Int, count: Int)]
    private let values: [Value]
    /// Open addressing: an index into `values` plus one, or 0.
    private let slots: [Int32]
    private let seed: UInt64

    /// Names are put in lower case.
    public init(_ entries: [String: Value]) {
        var names: [UInt8] = []
        var ranges: [(start: Int, count: Int)] = []
        var values: [Value] = []
        var capacity = 8
        while capacity < entries.count * 2 { capacity *= 2 }
        var slots = [Int32](repeating: 0, count: capacity)
        // A seed of its own for each table, so that nobody can prepare names that collide.
        let seed = UInt64.random(in: .min ... .max)
        for (name, value) in entries {
            let bytes = Array(name.lowercased().utf8)
            ranges.append((names.count, bytes.count))
            names.append(contentsOf: bytes)
            values.append(value)
            let hash = bytes.withUnsafeBufferPointer { Self.hash($0, seed) }
            var slot = Int(truncatingIfNeeded: hash) & (capacity - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (capacity - 1) }
            slots[slot] = Int32(values.count)
        }
        self.names = names
        self.ranges = ranges
        self.values = values
        self.slots = slots
        self.seed = seed
    }

    public var count: Int { values.count }

    /// The value of a name in lower case.
    public subscript(_ name: UnsafeBufferPointer<UInt8>) -> Value? {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: Self.hash(name, seed)) & mask
        while slots[slot] != 0 {
            let index = Int(slots[slot]) - 1
            if isName(index, name) { return values[index] }
            slot = (slot + 1) & mask
        }
        return nil
    }

    private func isName(_ index: Int, _ name: UnsafeBufferPointer<UInt8>) -> Bool {
        let range = ranges[index]
        guard range.count == name.count else { return false }
        for offset in 0..<range.count where names[range.start + offset] != name[offset] { return false }
        return true
    }

    /// FNV-1a with a seed and a last mix.
    private static func hash(_ bytes: UnsafeBufferPointer<UInt8>, _ seed: UInt64) -> UInt64 {
        var hash = 0xcbf2_9ce4_8422_2325 ^ seed
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return hash ^ (hash >> 32)
    }
}

/// Routes by the host's name alone.
public struct NameRouter: Router {
    private let table: NameTable<RouteDecision>
    private let otherwise: RouteDecision

    public init(_ names: [String: RouteDecision], otherwise: RouteDecision = .unknown) {
        table = NameTable(names)
        self.otherwise = otherwise
    }

    public func route(_ request: borrowing RoutedRequest) -> RouteDecision {
        request.withHostName { table[$0] } ?? otherwise
    }
}
