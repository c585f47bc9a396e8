import Synchronization

/// One long line of a tool, which comes in pieces.
final class QueryOutput: Sendable {
    static let limit = 16 << 20
    private let state = Mutex<[UInt8]>([])

    func take(_ piece: ArraySlice<UInt8>) {
        state.withLock { if $0.count <= Self.limit { $0 += piece } }
    }

    /// Nil when it was too long.
    var bytes: [UInt8]? { state.withLock { $0.count <= Self.limit ? $0 : nil } }
}
