/// A connection to an upstream.
final class Back {
    enum Phase: UInt8 {
        case connecting
        case busy
        case idle
        case closed
    }

    let descriptor: Int32
    let generation: UInt32
    let pool: UpstreamPool
    var phase: Phase
    var isReadable = false
    /// The upstream has ended its side, or the connection broke: bytes may still be there to be read.
    var hasEnded = false
    /// Sending failed; what the upstream has said before is still read.
    var isUnwritable = false
    /// The kernel has said that the other end cannot be reached any more.
    var isLost = false
    var link = LinkWatch()
    var hasServed = false
    /// Whether the kernel tells when there is room to write.
    ///
    /// Only while something waits to be written: a unix socket would tell of room whenever the other side has read,
    /// which wakes the loop twice for every request.
    var watchesOutput: Bool
    @exclusivity(unchecked) var input = Stash()
    @exclusivity(unchecked) var output = Stash()
    var exchange: Exchange?
    var deadline: UInt64 = 0
    var poolIndex = 0

    init(descriptor: Int32, generation: UInt32, pool: UpstreamPool, phase: Phase) {
        self.descriptor = descriptor
        self.generation = generation
        self.pool = pool
        self.phase = phase
        watchesOutput = phase == .connecting
    }

    deinit {
        input.clear()
        output.clear()
    }
}

/// One loop's connections to one upstream.
///
/// The last one that was used is used next: it is the warmest, and the others can grow old and be closed.
final class UpstreamPool {
    let upstream: Upstream
    let cell: AppCell
    @exclusivity(unchecked) var idle: [Back] = []
    var busyCount = 0
    /// Connections are TCP of the proxy's own.
    let isTCP: Bool

    init(upstream: Upstream, cell: AppCell) {
        self.upstream = upstream
        self.cell = cell
        if case .tcp = upstream.address { isTCP = upstream.peers?.connector == nil } else { isTCP = false }
    }

    func add(_ back: Back) {
        back.poolIndex = idle.count
        idle.append(back)
    }

    func remove(_ back: Back) {
        let last = idle.removeLast()
        guard last !== back else { return }
        idle[back.poolIndex] = last
        last.poolIndex = back.poolIndex
    }
}
