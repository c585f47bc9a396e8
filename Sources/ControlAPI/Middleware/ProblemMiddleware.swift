import Control
import Hummingbird
import Logging

/// Turns every error into `application/problem+json`, and logs those that are a fault of Martlet.
struct ProblemMiddleware: RouterMiddleware {
    typealias Context = APIContext

    @concurrent func handle(
        _ request: Request,
        context: Context,
        next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as MartletError {
            if error.code == .internal {
                context.logger.error(
                    "request failed",
                    metadata: ["error": "\(error)", "path": "\(request.uri.path)"]
                )
            }
            return .problem(error)
        } catch let error as HTTPError {
            return .problem(Self.translate(error, request))
        } catch is CancellationError {
            return .problem(MartletError(.unavailable, "the host is shutting down"))
        } catch {
            context.logger.error(
                "request failed",
                metadata: ["error": "\(error)", "path": "\(request.uri.path)"]
            )
            return .problem(
                MartletError(
                    .internal,
                    "\(request.method) \(request.uri.path) failed; the host's log says why"
                )
            )
        }
    }

    private static func translate(_ error: HTTPError, _ request: Request) -> MartletError {
        switch error.status {
        case .notFound, .methodNotAllowed:
            MartletError(
                .notFound,
                "there is no \(request.method) \(request.uri.path) in this API; is the host of an older version than the caller?"
            )
        default:
            MartletError(.badRequest, error.body ?? error.status.reasonPhrase)
        }
    }
}
