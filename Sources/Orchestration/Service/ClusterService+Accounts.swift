package import Control
import Crypto
import Foundation
import Synchronization
package import Temporal

extension ClusterService: AccountAdministration {
    package func accounts() async throws -> [Account] {
        try await asked("list the users") {
            var accounts: [Account] = []
            for try await workflow in client.list("WorkflowType = 'User' AND ExecutionStatus = 'Running'") {
                let handle: WorkflowHandle<Nothing> = client.handle(id: workflow.workflowID)
                accounts.append(try await handle.query(UserWorkflow.account))
            }
            return accounts.sorted { $0.id < $1.id }
        }
    }

    package func setAccount(_ user: UserID, quotas: Account.Quotas) async throws -> Account {
        try await update(user, "change the account \(user)", UserWorkflow.setQuotas, quotas)
    }

    package func addToken(to user: UserID, name: String) async throws -> NewToken {
        guard (1...64).contains(name.count) else {
            throw MartletError(
                .badRequest,
                "a token's name has 1 to 64 characters, such as the machine that it is on"
            )
        }
        var random = SystemRandomNumberGenerator()
        let token = try UserToken.make(for: user, using: &random)
        let id = String(UserToken.hash(token).prefix(12))
        let request = TokenRequest(id: id, name: name, hash: UserToken.hash(token))
        _ = try await update(user, "make a token for \(user)", UserWorkflow.addToken, request)
        return NewToken(id: id, user: user, token: token)
    }

    package func removeToken(_ id: String, of user: UserID) async throws {
        _ = try await asked("remove the token \(id) of \(user)") {
            try await account(of: user).update(UserWorkflow.removeToken, input: id)
        }
    }

    /// Counts an app against its owner's quotas.
    func claim(_ app: ApplicationID, bytes: Int, cpu: Double, for user: UserID) async throws {
        let request = ClaimRequest(app: app, bytes: bytes, cpu: cpu)
        _ = try await update(user, "deploy \(app) for \(user)", UserWorkflow.claim, request)
    }

    func release(_ app: ApplicationID, of user: UserID) async throws {
        _ = try await update(user, "delete \(app) of \(user)", UserWorkflow.release, app)
    }

    private func account(of user: UserID) -> WorkflowHandle<Nothing> {
        client.handle(id: ClusterNames.workflow(of: user))
    }

    private func update<Input: Codable & Sendable>(
        _ user: UserID,
        _ action: String,
        _ update: UpdateDefinition<Input, Account>,
        _ input: Input
    ) async throws -> Account {
        try await asked(action) {
            try await client.updateWithStart(
                UserWorkflow.self,
                input: UserInput(user: user, historyEvents: timing.historyEvents),
                options: StartWorkflowOptions(
                    id: ClusterNames.workflow(of: user),
                    taskQueue: ClusterNames.controlQueue
                ),
                update: update,
                updateInput: input,
                waitFor: .completed
            ).result()
        }
    }
}

/// Tokens of users: `martlet_<user>_<52 letters>`, so that whose a token is can be told before it is looked up.
enum UserToken {
    static func make(
        for user: UserID,
        using random: inout some RandomNumberGenerator
    ) throws(MartletError) -> String {
        let secret = APIToken.random(using: &random).secret.dropFirst("martlet_".count)
        return try APIToken(validating: "martlet_\(user)_\(secret)").secret
    }

    /// Whose token it claims to be; nil for one of another form.
    static func user(of token: String) -> UserID? {
        let parts = token.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "martlet", parts[2].count == 52 else { return nil }
        return UserID(String(parts[1]))
    }

    static func hash(_ token: String) -> String {
        SHA256.hash(data: Data(token.utf8)).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}

/// Tells whose token it is by the users' workflows; what was found counts for a few seconds.
package final class AccountRegister: Sendable {
    private let client: TemporalClient
    private let known = Mutex<[String: (user: UserID, until: ContinuousClock.Instant)]>([:])

    private static let memory = Duration.seconds(10)
    private static let limit = 1000

    package init(client: TemporalClient) { self.client = client }

    package func user(presenting token: String) async -> UserID? {
        let hash = UserToken.hash(token)
        let now = ContinuousClock.now
        if let entry = known.withLock({ $0[hash] }), entry.until > now { return entry.user }
        guard let user = UserToken.user(of: token) else { return nil }
        let handle: WorkflowHandle<Nothing> = client.handle(id: ClusterNames.workflow(of: user))
        // Who cannot be looked up is not let in.
        guard let isAccepted = try? await handle.query(UserWorkflow.accepts, input: hash), isAccepted else {
            return nil
        }
        known.withLock { known in
            if known.count >= Self.limit { known.removeAll() }
            known[hash] = (user, now + Self.memory)
        }
        return user
    }
}
