import CSandbox
import Proxy
import Synchronization

/// Routes by host name: `<app>.<domain>` to the app, everything else to the API.
///
/// An app that is placed here goes to its worker; in a cluster any other goes once to the host that has it.
struct ApplicationRouter: Router {
    let table: RouteTable
    /// What is known of the other hosts; nil for a host on its own.
    let cluster: ClusterView?
    /// With its dot: `.localhost`.
    let suffix: [UInt8]
    let api: RouteDecision
    /// The app that answers for every other host name, in place of the API.
    let standard: String?
    /// Told that a request waits for an app.
    let wake: @Sendable (String) -> Void

    /// The longest name that is looked up (RFC 1035: a label).
    private static let maximumLabelBytes = 63

    init(
        table: RouteTable,
        cluster: ClusterView?,
        standard: String? = nil,
        domain: String,
        api: RouteDecision,
        wake: @escaping @Sendable (String) -> Void
    ) {
        self.table = table
        self.cluster = cluster
        self.standard = standard
        suffix = Array(".\(domain.lowercased())".utf8)
        self.api = api
        self.wake = wake
    }

    func route(_ request: borrowing RoutedRequest) -> RouteDecision {
        guard let label = label(request) else {
            return cluster.flatMap { $0.answerPeer(request) } ?? api
        }
        guard let cell = table[label] else {
            return cluster.flatMap { $0.route(request, labelBytes: label.utf8.count) }
                ?? Self.unknown(label, String(decoding: suffix, as: UTF8.self))
        }
        if let cluster, let refusal = cluster.refusal {
            // Newer routes may say that another host has the app by now.
            if case .forward(let upstream)? = cluster.route(request, labelBytes: label.utf8.count) {
                return .forward(upstream)
            }
            return .respond(refusal, cell.waiting)
        }
        let (decision, isNews) = cell.route()
        cell.lastActivity.store(csandbox_monotonic(), ordering: .relaxed)
        if case .forward = decision { cell.requests.add(1, ordering: .relaxed) }
        if isNews { wake(label) }
        return decision
    }

    func failed(
        _ failure: UpstreamFailure,
        of upstream: Upstream,
        request: borrowing RoutedRequest
    ) -> FailureDecision {
        // Another host: the request waits for it, or for the routes to change.
        if let cluster, cluster.isPeer(upstream) { return cluster.failed(failure, of: upstream) }
        guard let label = label(request), let cell = table[label] else { return .answer }
        switch failure {
        case .refused:
            // Nothing of the request has reached the app: its worker is gone, and the next one gets it.
            if cell.holdFailed() { wake(label) }
            return .hold(cell.waiting)
        case .closedBeforeAnswer, .closedInAnswer, .answerTimeout:
            return cell.explanation(failure).map { .respond($0) } ?? .answer
        default:
            return .answer
        }
    }

    private func label(_ request: borrowing RoutedRequest) -> String? {
        let own = request.withHostName { name -> String? in
            let count = name.count - suffix.count
            guard (1...Self.maximumLabelBytes).contains(count) else { return nil }
            for index in 0..<suffix.count where name[count + index] != suffix[index] { return nil }
            return String(decoding: UnsafeBufferPointer(rebasing: name[..<count]), as: UTF8.self)
        }
        return own ?? standard
    }

    private static func unknown(_ label: String, _ suffix: String) -> RouteDecision {
        .respond(
            .error(
                status: 404,
                code: "unknown_app",
                message:
                    "No app named \"\(label)\" is deployed here, so http://\(label)\(suffix) leads nowhere. "
                    + "`martlet apps` lists those that are; `martlet deploy --name \(label)` makes one."
            ),
            nil
        )
    }
}
