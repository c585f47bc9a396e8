/// Names a connection for as long as it lives: descriptors are used again, generations are not.
struct ConnectionKey: Sendable, Equatable {
    let descriptor: Int32
    let generation: UInt32
}

/// A client's connection.
///
/// Small, because most are idle: what a request needs is in its ``Exchange``.
final class Front {
    enum Phase: UInt8 {
        /// Waits for a PROXY protocol header.
        case preamble
        /// Waits for a head, or reads one.
        case head
        /// A request has been taken: see the exchange.
        case exchanging
        /// The request waits for the router to be asked again.
        case parked
        /// Everything was said; what still arrives is dropped, so that the kernel does not reset the connection before
        /// the client has read the answer.
        case lingering
        case closed
    }

    let descriptor: Int32
    let generation: UInt32
    var phase: Phase
    /// The kernel may have bytes, or the end, for us.
    var isReadable = false
    /// The client has ended its side.
    var hasEnded = false
    /// Bytes in `input` are an unfinished head: more must arrive before it makes sense to look again.
    var needsMore = false
    var isQueued = false
    /// Close once `output` is gone.
    var closesWhenSent = false
    /// Whether the kernel tells when there is room to write: always for TCP, where that costs nothing; for other
    /// sockets while something waits to be written.
    var watchesOutput = true
    var isTCP = true
    var isSecure: Bool
    let trustsForwardedFields: Bool
    /// Set where the client must be a proxy of the group.
    let peers: PeerGroup?
    /// Milliseconds on the loop's clock.
    var deadline: UInt64 = 0
    @exclusivity(unchecked) var input = Stash()
    @exclusivity(unchecked) var output = Stash()
    var exchange: Exchange?
    var requests: Int32 = 0
    var port: UInt16
    var addressCount: UInt8 = 0
    private(set) var address: MutableBytes?
    /// Set while parked.
    var waitsFor: App?
    var parkedBytes: Int32 = 0
    var heldUntil: UInt64 = 0
    /// When the request that is held came, in nanoseconds; 0 when none has been held.
    var heldSince: UInt64 = 0
    /// Until when a head must be complete; 0 when none has begun.
    var headDeadline: UInt64 = 0
    /// How often the request has been sent anew because an upstream failed it.
    var retries: UInt16 = 0

    init(
        descriptor: Int32,
        generation: UInt32,
        phase: Phase,
        port: UInt16,
        isSecure: Bool,
        trustsForwardedFields: Bool,
        peers: PeerGroup?
    ) {
        self.descriptor = descriptor
        self.generation = generation
        self.phase = phase
        self.port = port
        self.isSecure = isSecure
        self.trustsForwardedFields = trustsForwardedFields
        self.peers = peers
    }

    deinit {
        address?.deallocate()
        input.clear()
        output.clear()
    }

    var key: ConnectionKey { ConnectionKey(descriptor: descriptor, generation: generation) }

    func setAddress(_ bytes: Bytes, _ count: Int) {
        address?.deallocate()
        let copy = MutableBytes.allocate(capacity: max(count, 1))
        copy.update(from: bytes, count: count)
        address = copy
        addressCount = UInt8(truncatingIfNeeded: count)
    }

    var addressText: String {
        guard let address else { return "" }
        return text(address, 0, Int(addressCount))
    }
}
