import Control
import Hummingbird

/// Accounts and their tokens; only where there is a cluster.
struct AccountRoutes {
    let accounts: any AccountAdministration

    private struct TokenOrder: Codable {
        var name: String
    }

    func add(to group: RouterGroup<APIContext>) {
        let accounts = accounts
        group.get("users") { _, _ in try Response.json(try await accounts.accounts()) }
        group.put("users/:user") { request, context in
            let quotas = try await request.decode(Account.Quotas.self, upTo: 4096)
            return try Response.json(try await accounts.setAccount(try Self.user(context), quotas: quotas))
        }
        group.post("users/:user/tokens") { request, context in
            let order = try await request.decode(TokenOrder.self, upTo: 4096)
            let token = try await accounts.addToken(to: try Self.user(context), name: order.name)
            return try Response.json(token, status: .created)
        }
        group.delete("users/:user/tokens/:token") { _, context in
            try await accounts.removeToken(
                context.parameters.get("token") ?? "",
                of: try Self.user(context)
            )
            return Response(status: .noContent)
        }
    }

    private static func user(_ context: APIContext) throws -> UserID {
        try UserID(validating: context.parameters.get("user") ?? "")
    }
}
