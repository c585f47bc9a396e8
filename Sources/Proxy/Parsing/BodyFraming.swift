/// Where a message's body ends (RFC 9112 6.3), followed through any division of its bytes.
struct BodyFraming: Equatable {
    enum Kind: Equatable {
        case none
        case length
        case chunked
        /// To the end of the connection; answers only.
        case untilClose
    }

    let kind: Kind
    private var remaining = 0
    private(set) var chunks = ChunkScanner()
    private(set) var isComplete: Bool

    static var none: Self { Self(kind: .none, remaining: 0) }
    static var chunked: Self { Self(kind: .chunked, remaining: 0) }
    static var untilClose: Self { Self(kind: .untilClose, remaining: 0) }
    static func length(_ bytes: Int) -> Self { Self(kind: bytes == 0 ? .none : .length, remaining: bytes) }

    private init(kind: Kind, remaining: Int) {
        self.kind = kind
        self.remaining = remaining
        isComplete = kind == .none
    }

    @inline(__always)
    init(request head: borrowing RequestHead) {
        self = head.isChunked ? .chunked : .length(max(head.contentLength, 0))
    }

    /// The body of an answer: none for HEAD, 204 and 304, whatever its head says.
    init(answer head: AnswerHead, toHead: Bool) {
        if toHead || head.status == 204 || head.status == 304 || head.status < 200 {
            self = .none
        } else if head.isChunked {
            self = .chunked
        } else if head.contentLength >= 0 {
            self = .length(head.contentLength)
        } else {
            self = .untilClose
        }
    }

    var refusal: Refusal? { chunks.refusal }

    /// How many of the bytes belong to this body.
    ///
    /// Less than `count` only at its end or where it is refused.
    @inline(__always)
    mutating func take(_ bytes: Bytes, _ count: Int) -> Int {
        switch kind {
        case .none: return 0
        case .untilClose: return count
        case .length:
            let taken = min(remaining, count)
            remaining &-= taken
            isComplete = remaining == 0
            return taken
        case .chunked:
            let taken = chunks.take(bytes, count)
            isComplete = chunks.isDone
            return taken
        }
    }

    /// As `take` for a chunked body, without the coding.
    mutating func decode(
        _ bytes: Bytes,
        _ count: Int,
        into output: MutableBytes,
        _ produced: inout Int
    ) -> Int {
        let taken = chunks.decode(bytes, count, into: output, &produced)
        isComplete = chunks.isDone
        return taken
    }

    /// As `decode`, but leaves the trailers.
    mutating func decodeData(
        _ bytes: Bytes,
        _ count: Int,
        into output: MutableBytes,
        _ produced: inout Int
    ) -> Int {
        chunks.decodeData(bytes, count, into: output, &produced)
    }

    /// The end of the connection: whether that ends the body as it should.
    mutating func end() -> Bool {
        if kind == .untilClose { isComplete = true }
        return isComplete
    }
}
