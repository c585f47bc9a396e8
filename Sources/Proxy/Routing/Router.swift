/// Says where requests go.
///
/// One object is one immutable picture of the routes: to change them, publish another with
/// ``ProxyServer/publish(_:)-(any_Router)``.
public protocol Router: Sendable {
    /// Called on a loop's thread for every request, and again for a held one: it must not block, and allocates
    /// nothing unless it must.
    func route(_ request: borrowing RoutedRequest) -> RouteDecision

    /// Called on a loop's thread when an upstream failed a request that could not be sent elsewhere.
    ///
    /// The answer replaces the proxy's own.
    ///
    /// `.hold` and `.retry` are honoured when all of the request is at hand, and either nothing of it has reached an
    /// app (the failures `refused`, `overloaded`, `connectTimeout`, `misdirected`, `tooManyHops`) or, once,
    /// when the upstream ended or was given up before it answered (`closedBeforeAnswer`, `lost`) and the method is
    /// idempotent.
    func failed(
        _ failure: UpstreamFailure,
        of upstream: Upstream,
        request: borrowing RoutedRequest
    ) -> FailureDecision
}

extension Router {
    public func failed(
        _ failure: UpstreamFailure,
        of upstream: Upstream,
        request: borrowing RoutedRequest
    ) -> FailureDecision { .answer }
}

/// Where a request goes.
public enum RouteDecision: Sendable {
    case forward(Upstream)
    /// Not now: the request waits until ``ProxyServer/retryHeld(_:)`` asks the router again, or
    /// ``ProxyServer/refuseHeld(_:with:)`` answers it; bounded by the app's limits.
    case hold(App)
    /// A ready-made answer, counted under the app if there is one.
    case respond(ReadyAnswer, App?)
    /// No app has this name: 404.
    case unknown
    /// The app is on another host, but this one does not know which: a peer that sent the request is told so and may
    /// send it elsewhere, a client gets 503.
    ///
    /// Counted under the app if there is one.
    case misdirected(App?)
}

/// What becomes of a request that an upstream failed.
public enum FailureDecision: Sendable {
    /// The proxy's own answer: 502, 503 or 504 with a JSON body.
    case answer
    case respond(ReadyAnswer)
    /// Wait, as with ``RouteDecision/hold(_:)``, where the failure allows that.
    case hold(App)
    /// Ask the router again at once, at most ``ProxyConfiguration/Limits/retries`` times for one request.
    case retry
}

/// Told of every request of an app.
///
/// Called on the loops' threads: it must not block.
public protocol ProxyObserver: Sendable {
    /// A request goes to the upstream.
    ///
    /// A request that is sent anew after a lost connection is told of once.
    func requestStarted(_ request: borrowing RoutedRequest, app: App)
    /// The request or tunnel is over, and is no longer counted in ``App/activity-swift.property``.
    func requestEnded(_ summary: RequestSummary)
}

/// What a finished request was.
public struct RequestSummary: Sendable {
    public let app: App
    /// The status that was sent; 0 when the client left before that.
    public let status: Int
    public let wasTunnel: Bool
    /// Bytes of bodies, or of the tunnel: from the client and to it.
    public let bytesIn: Int
    public let bytesOut: Int
    public let duration: Duration
    public let outcome: Outcome

    public enum Outcome: Sendable, Equatable {
        case completed
        /// The client's connection ended first.
        case clientLeft
        case clientTooSlow
        case refused(Refusal)
        case upstreamFailed(UpstreamFailure)
        /// The gate replaced the answer.
        case withheld
        /// The proxy was drained or stopped.
        case stopped
    }
}
