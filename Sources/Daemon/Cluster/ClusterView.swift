import Proxy

/// What a host's router knows of its cluster, as one immutable picture.
///
/// ```
///                              ┌─ placed here ──► its worker (ApplicationRouter)
///   request for an app ────────┤
///                              └─ not here ─► routes say: another host ─► forwarded, at most PeerGroup's hops
///                                             routes say: this host    ─► 404; an app on its way here: it waits
///                                             the sender knows newer routes, or nobody is known ─► it waits
/// ```
struct ClusterView: Sendable {
    /// Nil until the first table has come.
    let routes: ClusterRoutes?
    /// What peers are told that ask for the table.
    let published: ReadyAnswer?
    /// Under which requests wait while no table is known, or nobody has the slice.
    let nowhere: App
    /// Whether this host may answer for its apps.
    let permission: ServingPermission
    /// Told on a loop's thread that there are newer routes than these.
    let onStale: @Sendable (_ generation: Int) -> Void

    /// The host name under which peers ask each other for routes; no app can have it.
    static let internalName = "routes.martlet.internal"

    /// Why this host must not answer for its own apps now; nil while it may.
    var refusal: ReadyAnswer? { permission.refusal }

    /// Where a request goes whose app is not placed here; nil for nowhere, because the app does not exist.
    ///
    /// `labelBytes`: how many bytes of the host's name are the app's.
    func route(_ request: borrowing RoutedRequest, labelBytes: Int) -> RouteDecision? {
        if let told = request.peerGeneration, told > routes?.generation ?? 0 {
            // The sender believes from newer routes that the app is here. Sending it on by older ones could be a circle.
            onStale(told)
            return .misdirected(nil)
        }
        guard let routes else { return .hold(nowhere) }
        let place = request.withHostName { name in
            routes.place(of: UnsafeBufferPointer(rebasing: name[..<labelBytes]))
        }
        switch place {
        // After a failover the routes name the new host before it has the app.
        case nil, .awaited: return .hold(nowhere)
        case .here: return nil
        case .peer(let peer): return peer.upstream.map { .forward($0) } ?? .hold(peer.waiting)
        }
    }

    /// Whether the upstream is another host; no app has a colon in its name.
    func isPeer(_ upstream: Upstream) -> Bool { upstream.app.name.hasPrefix("host:") }

    /// What becomes of a request that another host did not take: it waits until the routes change or the host is back.
    func failed(_ failure: UpstreamFailure, of upstream: Upstream) -> FailureDecision {
        switch failure {
        case .refused, .connectTimeout, .misdirected, .tooManyHops, .closedBeforeAnswer, .lost:
            .hold(upstream.app)
        default: .answer
        }
    }

    /// The answer to another host that asks for the routes; nil for other requests.
    func answerPeer(_ request: borrowing RoutedRequest) -> RouteDecision? {
        guard request.peerHops > 0 else { return nil }
        let isAsking = request.withHostName { name in
            name.elementsEqual(Self.internalName.utf8)
        }
        guard isAsking, let published else { return .unknown }
        return .respond(published, nil)
    }
}

/// Whether a host may answer for its apps: while it has a lease, by its clock.
///
/// Loops ask for every request, and again before the answer goes out, so a process that was stopped for a while answers
/// nothing that it may not.
final class ServingPermission: Sendable {
    private let isValid: @Sendable () -> Bool
    private let answer = ReadyAnswer.error(
        status: 503,
        code: "host_without_lease",
        message:
            "The host that has the app may not answer for it at the moment: its lease is over. Try again.",
        retryAfterSeconds: 2
    )

    init(_ isValid: @escaping @Sendable () -> Bool) { self.isValid = isValid }

    var isGranted: Bool { isValid() }

    /// Nil while the host may answer.
    var refusal: ReadyAnswer? { isValid() ? nil : answer }
}
