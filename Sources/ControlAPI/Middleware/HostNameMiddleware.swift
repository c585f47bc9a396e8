import Control
import HTTPTypes
import Hummingbird

/// Answers requests for names of apps that do not exist: the ingress sends here what no app takes.
struct HostNameMiddleware: RouterMiddleware {
    typealias Context = APIContext

    let domain: String

    @concurrent func handle(
        _ request: Request,
        context: Context,
        next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard let name = appName(request.head.authority) else { return try await next(request, context) }
        let message =
            "there is no app named \"\(name)\" on this host. `martlet apps` lists the apps; "
            + "`martlet deploy DIR --name \(name)` makes this one"
        guard request.prefersHTML else { return .problem(MartletError(.notFound, message)) }
        return .plain(Self.page(name: name), status: .notFound, type: "text/html; charset=utf-8")
    }

    /// The app's name in `name.domain:port`; nothing for the domain itself and for names that no app can have, which
    /// all go to the API.
    private func appName(_ authority: String?) -> String? {
        guard let authority else { return nil }
        let host = (authority.split(separator: ":").first ?? "").lowercased()
        guard host.hasSuffix("." + domain) else { return nil }
        let name = String(host.dropLast(domain.count + 1))
        guard ApplicationID(name) != nil else { return nil }
        return name
    }

    private static func page(name: String) -> String {
        // The name is a DNS label, so it needs no escaping.
        """
        <!doctype html><meta charset="utf-8"><title>No app named \(name)</title>
        <style>body{font:16px/1.5 system-ui;margin:15vh auto;max-width:34em;padding:0 1em}code{background:#eee;padding:.1em .3em}</style>
        <h1>No app named “\(name)”</h1>
        <p>This is a Martlet host, and nothing is deployed under this name.</p>
        <p><code>martlet apps</code> lists the apps. <code>martlet deploy DIR --name \(name)</code> makes this one.</p>

        """
    }
}
