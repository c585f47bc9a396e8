import Glibc

/// What is known of one request while it is handled.
///
/// Used again for other requests, with its memory.
final class Exchange {
    /// Bytes of a request that are kept so that it can be sent again.
    static let replayLimit = 64 * 1024

    @exclusivity(unchecked) var machine = ExchangeMachine(RequestHead())
    var front: Front?
    var back: Back?
    var pool: UpstreamPool?
    var cell: AppCell?
    /// Differs for every request, so that a late message cannot reach a later one.
    var serial: UInt64 = 0
    /// Nanoseconds on the loop's clock.
    var startedAt: UInt64 = 0
    var bytesIn = 0
    var bytesOut = 0
    var status = 0
    var attempts = 0
    /// When the upstream's backlog was found full for the first time, in milliseconds; 0 when it was not.
    var backloggedSince: UInt64 = 0
    var isCounted = false
    var isSettled = false
    var isGated = false
    /// The bytes at the front of the upstream's stash have passed the gate.
    var passedBytes = 0
    /// The head of the answer went to the client.
    var hasBegun = false
    /// 32 hexadecimal digits, where the client sent none.
    @exclusivity(unchecked) var requestID: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    /// Set once the client has ended its side: until when its answer is still delivered.
    var halfClosedUntil: UInt64 = .max
    /// Bytes that the current window of the body's time-out has seen.
    var windowBytes = 0
    var discardedBytes = 0
    /// 1xx answers that the upstream has sent.
    var interimAnswers = 0
    /// Of the client's connection.
    var link = LinkWatch()
    var isTunnel = false
    var clientEnded = false
    var upstreamEnded = false
    /// What the end is to be called, where that is known before the end.
    var outcome: RequestSummary.Outcome?
    var isSafeMethod = false
    /// Positions in `raw`, for the access log.
    var methodStart: Int32 = 0
    var methodCount: Int32 = 0
    var pathStart: Int32 = 0
    var pathCount: Int32 = 0
    var hostStart: Int32 = 0
    var hostCount: Int32 = 0
    var requestIDStart: Int32 = 0
    var requestIDCount: Int32 = 0
    /// The client's address, where a peer told it.
    var clientStart: Int32 = 0
    var clientCount: Int32 = 0
    /// The generation that the peer told.
    var peerGeneration = 0

    /// The request's head and the beginning of its body, as they came.
    private(set) var raw: MutableBytes
    private(set) var rawCount = 0
    private var rawCapacity = 1024

    init() { raw = .allocate(capacity: rawCapacity) }

    deinit { raw.deallocate() }

    func keep(_ bytes: Bytes, _ count: Int) {
        if count > rawCapacity || (rawCapacity > 4096 && count <= 1024) {
            raw.deallocate()
            rawCapacity = max(1024, count)
            raw = .allocate(capacity: rawCapacity)
        }
        memcpy(raw, bytes, count)
        rawCount = count
    }

    /// Gives the request an id of its own.
    @inline(__always)
    func setRequestID(_ id: (UInt64, UInt64)) {
        withUnsafeMutableBytes(of: &requestID) { bytes in
            guard let base = bytes.baseAddress else { return }
            var writer = ByteWriter(base.assumingMemoryBound(to: UInt8.self))
            writer.put(hex: id.0)
            writer.put(hex: id.1)
        }
    }

    /// Makes ready for another request.
    ///
    /// References have been given up at the end of the last.
    func reset() {
        bytesIn = 0
        bytesOut = 0
        status = 0
        attempts = 0
        backloggedSince = 0
        isCounted = false
        isSettled = false
        isGated = false
        passedBytes = 0
        hasBegun = false
        isTunnel = false
        clientEnded = false
        upstreamEnded = false
        halfClosedUntil = .max
        windowBytes = 0
        discardedBytes = 0
        interimAnswers = 0
        link = LinkWatch()
        outcome = nil
    }

    /// Notes where the parts of the head are that the log tells.
    @inline(__always)
    func note(_ head: borrowing RequestHead, _ table: FieldTable) {
        switch head.method {
        case .get, .head, .options, .trace: isSafeMethod = true
        default: isSafeMethod = false
        }
        methodStart = Int32(truncatingIfNeeded: head.start)
        methodCount = Int32(truncatingIfNeeded: head.methodEnd &- head.start)
        pathStart = Int32(truncatingIfNeeded: head.pathStart)
        pathCount = Int32(truncatingIfNeeded: head.pathEnd &- head.pathStart)
        hostStart = Int32(truncatingIfNeeded: head.hostStart)
        hostCount = Int32(truncatingIfNeeded: head.hostEnd &- head.hostStart)
        requestIDCount = 0
        clientCount = 0
        if head.requestIDLine >= 0 {
            let line = table.lines[head.requestIDLine]
            requestIDStart = line.valueStart
            requestIDCount = line.valueEnd &- line.valueStart
        }
    }

    /// Notes what a peer tells of the client and of itself.
    func notePeer(_ head: RequestHead, _ bytes: Bytes, _ table: FieldTable) {
        peerGeneration = head.peerNumber(.peerGeneration, bytes, table) ?? 0
        for index in 0..<head.fieldCount where table.lines[index].kind == .forwardedFor {
            let line = table.lines[index]
            clientStart = line.valueStart
            clientCount = min(line.valueEnd &- line.valueStart, 256)
            return
        }
    }

    @inline(__always)
    func putRequestID(into writer: inout ByteWriter) {
        if requestIDCount > 0 {
            writer.put(raw + Int(requestIDStart), Int(requestIDCount))
        } else {
            withUnsafeBytes(of: &requestID) { bytes in
                if let base = bytes.baseAddress { writer.put(base.assumingMemoryBound(to: UInt8.self), 32) }
            }
        }
    }
}
