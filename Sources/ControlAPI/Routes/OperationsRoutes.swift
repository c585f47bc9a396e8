import Control
import HTTPTypes
import Hummingbird

/// What operators and visitors of the bare address get.
struct OperationsRoutes {
    let domain: String
    let version: String
    let health: @Sendable () async -> Health
    let metrics: PrometheusRegistry?

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
            router.get("metrics") { _, _ in
                Response.plain(metrics.render(), type: "text/plain; version=0.0.4; charset=utf-8")
            }
        }
        router.get("/") { _, _ in
            Response.plain(
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
}
