import Control
import Foundation
import HTTPTypes
import Hummingbird

/// What operators and visitors of the bare address get.
struct OperationsRoutes {
    let domain: String
    let version: String
    let health: @Sendable () async -> Health
    let metrics: PrometheusRegistry?
    let collectMetrics: @Sendable () async -> Void
    let dashboard: URL?

    /// The page runs its own script and talks to this API, and nothing else may be in it or around it.
    private static let dashboardPolicy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
        + "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

    private struct About: Codable {
        var name = "martlet"
        var version: String
        var domain: String
        var user: UserID
    }

    func add(to router: Router<APIContext>) {
        let version = version
        let domain = domain
        let health = health
        router.get("healthz") { _, _ in
            let report = await health()
            return try Response.json(report, status: report.status == .down ? .serviceUnavailable : .ok)
        }
        if let metrics {
            let collectMetrics = collectMetrics
            router.get("metrics") { _, _ in
                await collectMetrics()
                return Response.plain(metrics.render(), type: "text/plain; version=0.0.4; charset=utf-8")
            }
        }
        let dashboard = dashboard
        router.get("/") { request, _ in
            if let dashboard, request.prefersHTML { return try Self.page(dashboard) }
            return Response.plain(
                """
                Martlet \(version) is running.
                Apps answer at their own names, such as http://guestbook.\(domain)/ on this port.
                Deploy one with: martlet deploy DIR
                API: /v1 (needs a token)   Health: /healthz   Metrics: /metrics

                """,
                type: "text/plain; charset=utf-8"
            )
        }
        router.get("v1") { _, context in
            try Response.json(About(version: version, domain: domain, user: try context.requireUser()))
        }
    }

    private static func page(_ file: URL) throws -> Response {
        let text: String
        do {
            text = try String(contentsOf: file, encoding: .utf8)
        } catch {
            throw MartletError(
                .internal,
                "the dashboard \(file.lastPathComponent) can not be read",
                cause: error
            )
        }
        var response = Response.plain(text, type: "text/html; charset=utf-8")
        if let policy = HTTPField.Name("Content-Security-Policy") {
            response.headers[policy] = dashboardPolicy
        }
        response.headers[.xContentTypeOptions] = "nosniff"
        return response
    }
}
