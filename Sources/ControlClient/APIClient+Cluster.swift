public import Control
import Foundation
import NIOHTTP1

/// Calls that only the control of a cluster answers.
extension APIClient {
    public func hosts() async throws -> [HostSummary] { try await value(.GET, "/v1/hosts") }

    public func slices() async throws -> AssignmentSummary { try await value(.GET, "/v1/slices") }

    /// What was done with an app of late, newest first.
    public func operations(of app: ApplicationID) async throws -> [OperationRecord] {
        try await value(.GET, "/v1/apps/\(app)/operations")
    }

    /// Begins to empty a host.
    public func drain(_ host: HostID) async throws { _ = try await bytes(.POST, "/v1/hosts/\(host)/drain") }

    /// Gives a draining host work again.
    public func undrain(_ host: HostID) async throws {
        _ = try await bytes(.DELETE, "/v1/hosts/\(host)/drain")
    }

    /// Moves an app and follows the move to its end.
    public func move(
        _ app: ApplicationID,
        to host: HostID,
        onChange: @Sendable (OperationRecord) async -> Void
    ) async throws -> OperationRecord {
        let body = Array(try JSONFormat.encoder().encode(["to": host]))
        var request = head(.POST, "/v1/apps/\(app)/move")
        request.headers.add(name: "accept", value: "application/x-ndjson")
        return try await HTTPConnection(endpoint: endpoint).send(request, body: .bytes(body)) {
            head,
            reader in
            try await Self.requireSuccess(head, reader)
            var last: OperationRecord?
            while let line = try await reader.line() {
                guard !line.isEmpty else { continue }
                switch try Self.decode(OperationLine.self, Data(line)) {
                case .operation(let record):
                    if record != last { await onChange(record) }
                    last = record
                case .error(let error): throw error
                }
            }
            guard let last, last.state != .running else {
                throw MartletError(
                    .unavailable,
                    "the move's progress broke off; it goes on: see `martlet apps show \(app)`"
                )
            }
            return last
        }
    }

    public func accounts() async throws -> [Account] { try await value(.GET, "/v1/users") }

    /// Makes an account, or changes its quotas.
    public func setAccount(_ user: UserID, quotas: Account.Quotas) async throws -> Account {
        let body = Array(try JSONFormat.encoder().encode(quotas))
        return try Self.decode(
            Account.self,
            Data(try await bytes(.PUT, "/v1/users/\(user)", body: .bytes(body)))
        )
    }

    public func addToken(to user: UserID, name: String) async throws -> NewToken {
        let body = Array(try JSONFormat.encoder().encode(["name": name]))
        let answer = try await bytes(.POST, "/v1/users/\(user)/tokens", body: .bytes(body))
        return try Self.decode(NewToken.self, Data(answer))
    }

    public func removeToken(_ id: String, of user: UserID) async throws {
        _ = try await bytes(.DELETE, "/v1/users/\(user)/tokens/\(id)")
    }
}
