import Control
import Hummingbird

/// What is known of a request on its way through the API.
struct APIContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// Who asks; set behind the check of the token.
    var user: UserID?

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
    }

    /// The app that the path names.
    ///
    /// - Throws: ``MartletError`` with code `bad_request`.
    func app() throws -> ApplicationID {
        try ApplicationID(validating: parameters.get("app") ?? "")
    }

    func requireUser() throws(MartletError) -> UserID {
        guard let user else { throw MartletError(.unauthorized, "a token is needed") }
        return user
    }
}
