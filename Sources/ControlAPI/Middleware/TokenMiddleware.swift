import Control
import HTTPTypes
import Hummingbird

/// Lets requests below `/v1` through only with a token.
struct TokenMiddleware: RouterMiddleware {
    typealias Context = APIContext

    let authenticator: any Authenticator
    let protectsMetrics: Bool

    @concurrent func handle(
        _ request: Request,
        context: Context,
        next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        let path = request.uri.path
        guard path == "/v1" || path.hasPrefix("/v1/") || (protectsMetrics && path == "/metrics") else {
            return try await next(request, context)
        }
        guard let header = request.headers[.authorization] else {
            throw MartletError(
                .unauthorized,
                "this request has no token; send \"Authorization: Bearer TOKEN\". `martlet up` prints where its token is"
            )
        }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw MartletError(.unauthorized, "the Authorization header has to be \"Bearer TOKEN\"")
        }
        guard let user = await authenticator.user(presenting: String(parts[1])) else {
            throw MartletError(
                .unauthorized,
                "this token is not valid here; use the one that `martlet up` wrote, or check MARTLET_TOKEN and --token"
            )
        }
        var context = context
        context.user = user
        return try await next(request, context)
    }
}
