import Control
import HTTPTypes
import Hummingbird

/// Lets users see and change their own apps alone; the account that runs the platform may do everything.
struct OwnerMiddleware: RouterMiddleware {
    typealias Context = APIContext

    let service: any ApplicationService

    @concurrent func handle(
        _ request: Request,
        context: Context,
        next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard let user = context.user, user != .local else { return try await next(request, context) }
        let parts = request.uri.path.split(separator: "/").map(String.init)
        guard parts.first == "v1", parts.count > 1 else { return try await next(request, context) }
        switch parts[1] {
        case "apps" where parts.count > 2:
            let app = try ApplicationID(validating: parts[2])
            // As for one that is not there: names of others' apps are not told.
            guard try await service.application(app).owner == user else {
                throw MartletError(
                    .notFound,
                    "there is no app named \(app); `martlet apps` lists those that there are"
                )
            }
        case "apps", "deployments": break
        case "users" where parts.count > 2 && parts[2] == user.rawValue && request.method != .put: break
        default:
            throw MartletError(
                .unauthorized,
                "\(user) may not do this; use the token of the platform's own account"
            )
        }
        return try await next(request, context)
    }
}
