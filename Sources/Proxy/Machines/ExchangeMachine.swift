// The state of one request and its answer.
//
//   request:  sending ──► sent                         answer:  awaiting ──► streaming ──► complete
//                │          (the whole body went out)              │ 101
//                └──────► abandoned                                └──────► tunnel
//                           (the upstream takes no more;
//                            the rest is read and dropped)
//
// The two sides move on their own: an answer may begin, and end, before the request's body has. The machine
// decides; the loop reads, writes and closes.

/// Decides what becomes of an exchange when bytes, ends and errors arrive.
///
/// It knows no sockets.
struct ExchangeMachine {
    enum RequestPhase: Equatable {
        case sending
        case sent
        case abandoned
    }

    enum AnswerPhase: Equatable {
        case awaiting
        case streaming
        case complete
        case tunnel
    }

    /// What to do with an answer's head.
    enum AnswerAction: Equatable {
        /// 1xx: sent on, or dropped where the client does not know it.
        case inform(isForwarded: Bool)
        case tunnel
        case answer
        case fail(UpstreamFailure)
    }

    /// What to do when the upstream's connection has ended.
    enum UpstreamEnd: Equatable {
        /// Send the request again on a new connection: nothing of it was answered, and that is safe.
        case replay
        case fail(UpstreamFailure)
        case complete
        /// The client already has a part of the answer: end its connection so that it can tell.
        case cut
        case endTunnel
    }

    /// What becomes of the client's connection after an answer.
    enum ClientEnd: Equatable {
        case next
        /// The request's body is still arriving: read and drop a bounded rest, then go on.
        case discardRest
        case close
    }

    private(set) var request: RequestPhase
    private(set) var answer = AnswerPhase.awaiting
    var requestBody: BodyFraming
    var answerBody = BodyFraming.none

    let isHead: Bool
    let isIdempotent: Bool
    let isVersion10: Bool
    let asksForUpgrade: Bool
    /// Whether the client's connection is kept after this exchange.
    private(set) var keepsClient: Bool
    private(set) var keepsUpstream = true
    /// The connection had served before: the upstream may have closed it just as the request went out.
    var isReusedUpstream = false
    /// All of the request's bytes so far are kept, so that they can be sent again.
    var isReplayable = false
    /// An answer's body is passed to an HTTP/1.0 client without its chunks.
    private(set) var decodesChunks = false
    private var hasAnswerBytes = false

    @inline(__always)
    init(_ head: borrowing RequestHead) {
        requestBody = BodyFraming(request: head)
        request = requestBody.isComplete ? .sent : .sending
        isHead = head.isHead
        isIdempotent = head.method.isIdempotent
        isVersion10 = head.minorVersion == 0
        asksForUpgrade = head.asksForUpgrade
        keepsClient = head.minorVersion == 1 ? !head.closes : head.keepsAlive
    }

    /// Whether the answer begins with `Connection: keep-alive`, which an HTTP/1.0 client needs to be told.
    var tellsKeepAlive: Bool { isVersion10 && keepsClient }

    mutating func doNotKeepClient() { keepsClient = false }

    /// The request's body has ended.
    mutating func requestSent() {
        if request == .sending { request = .sent }
    }

    /// The upstream takes no more of the request.
    mutating func abandonRequest() {
        if request == .sending { request = .abandoned }
        keepsUpstream = false
    }

    /// The proxy has answered by itself.
    mutating func markAnswered() { answer = .complete }

    mutating func answerBytesArrived() { hasAnswerBytes = true }

    /// Not a byte of an answer has come.
    var isUnanswered: Bool { !hasAnswerBytes }

    mutating func answerHead(_ head: AnswerHead) -> AnswerAction {
        if head.status == 101 {
            guard asksForUpgrade, head.upgradeLine >= 0, head.hasUpgrade, request == .sent else {
                return .fail(.malformedAnswer)
            }
            answer = .tunnel
            keepsClient = false
            keepsUpstream = false
            return .tunnel
        }
        if head.status < 200 {
            // A body belongs to no 1xx (RFC 9110 15.2), so framing in one is a sign of a confused upstream.
            guard !head.isChunked, head.contentLength <= 0 else { return .fail(.malformedAnswer) }
            return .inform(isForwarded: !isVersion10)
        }
        answerBody = BodyFraming(answer: head, toHead: isHead)
        answer = answerBody.isComplete ? .complete : .streaming
        if head.closes || answerBody.kind == .untilClose { keepsUpstream = false }
        if isVersion10 && answerBody.kind == .chunked {
            decodesChunks = true
            keepsClient = false
        }
        if answerBody.kind == .untilClose { keepsClient = false }
        return .answer
    }

    /// Call after bytes of the answer's body were taken.
    mutating func answerBodyMoved() {
        if answer == .streaming && answerBody.isComplete { answer = .complete }
    }

    mutating func upstreamEnded() -> UpstreamEnd {
        keepsUpstream = false
        switch answer {
        case .tunnel: return .endTunnel
        case .complete: return .complete
        case .streaming:
            guard answerBody.end() else {
                keepsClient = false
                return .cut
            }
            answer = .complete
            return .complete
        case .awaiting:
            if isReusedUpstream && isReplayable && isIdempotent && !hasAnswerBytes { return .replay }
            return .fail(.closedBeforeAnswer)
        }
    }

    /// The answer is complete: whether the upstream's connection can be used again.
    var reusesUpstream: Bool { keepsUpstream && answer == .complete && request == .sent }

    var clientEnd: ClientEnd {
        guard keepsClient else { return .close }
        return requestBody.isComplete ? .next : .discardRest
    }
}
