/// How an upstream failed a request.
public enum UpstreamFailure: UInt8, Sendable, CaseIterable {
    /// Nobody listens at its address, or connecting was refused.
    case refused
    /// Its connections are as many as it takes.
    case overloaded
    case connectTimeout
    /// It closed the connection without an answer: it ended, or was ended, while handling the request.
    case closedBeforeAnswer
    /// It closed the connection within its answer.
    case closedInAnswer
    case malformedAnswer
    case answerTimeout
    /// The app's limit of running requests or tunnels.
    case tooManyRequests
    /// The request was held for longer than the limit, or more were held than the limit.
    case heldTooLong
    case tooManyHeld
    /// The request belongs elsewhere, but this proxy, or the peer that it was sent to, does not know where.
    case misdirected
    /// As many proxies of the group as may have sent the request on.
    case tooManyHops
    /// It was given up while it handled the request: see ``ProxyServer/giveUp(_:)``.
    case lost

    /// The status of the answer that the client gets, where it has none yet.
    public var status: Int {
        switch self {
        case .refused, .closedBeforeAnswer, .closedInAnswer, .malformedAnswer, .lost: 502
        case .connectTimeout, .answerTimeout: 504
        case .overloaded, .tooManyRequests, .heldTooLong, .tooManyHeld, .misdirected: 503
        case .tooManyHops: 508
        }
    }

    /// A word for programs.
    public var code: StaticString {
        switch self {
        case .refused: "upstream_refused"
        case .overloaded: "upstream_overloaded"
        case .connectTimeout: "upstream_connect_timeout"
        case .closedBeforeAnswer: "upstream_closed"
        case .closedInAnswer: "upstream_closed_in_answer"
        case .malformedAnswer: "upstream_malformed_answer"
        case .answerTimeout: "upstream_timeout"
        case .tooManyRequests: "too_many_requests_running"
        case .heldTooLong: "held_too_long"
        case .tooManyHeld: "too_many_held"
        case .misdirected: "misdirected"
        case .tooManyHops: "too_many_hops"
        case .lost: "upstream_lost"
        }
    }

    /// A sentence for people: what went wrong and what to do.
    public var message: StaticString {
        switch self {
        case .refused:
            "The app could not be reached: nothing listens at its address. Its log says why it ended."
        case .overloaded: "The app takes no more connections at the moment. Try again."
        case .connectTimeout: "The app did not accept a connection in time. Try again."
        case .closedBeforeAnswer:
            "The app ended or closed the connection before it answered. Its log says why."
        case .closedInAnswer: "The app ended or closed the connection within its answer. Its log says why."
        case .malformedAnswer: "The app's answer was not valid HTTP."
        case .answerTimeout: "The app did not answer in time. Raise its requestTimeout if it needs longer."
        case .tooManyRequests: "The app already handles as many requests as its limit allows. Try again."
        case .heldTooLong: "The app did not become ready in time. Try again."
        case .tooManyHeld: "Too many requests are waiting for the app to become ready. Try again."
        case .misdirected: "The app is on another host, and which one is not known at the moment. Try again."
        case .tooManyHops:
            "The hosts sent the request in a circle: they do not agree yet where the app is. Try again."
        case .lost:
            "The host of the app was lost before it answered. Whether it did what was asked is not known."
        }
    }

    var retryAfter: Bool { status == 503 || status == 508 }

    /// Nothing of the request has reached an app: to send it elsewhere is safe whatever its method.
    var leftRequestUntouched: Bool {
        switch self {
        case .refused, .overloaded, .connectTimeout, .misdirected, .tooManyHops: true
        default: false
        }
    }
}
