public import Control
public import Foundation
import NIOHTTP1

/// Calls the platform's API.
///
/// Every method throws ``MartletError``: what the API answered, or `unavailable` when it cannot be reached.
public struct APIClient: Sendable {
    /// What the API says of itself.
    public struct About: Codable, Sendable, Equatable {
        public var version: String
        public var domain: String
        public var user: UserID
    }

    public let endpoint: Endpoint
    private let token: APIToken?

    private static let maximumAnswerBytes = 64 << 20

    public init(endpoint: Endpoint, token: APIToken?) {
        self.endpoint = endpoint
        self.token = token
    }

    public func about() async throws -> About { try await value(.GET, "/v1") }

    public func applications() async throws -> [ApplicationStatus] { try await value(.GET, "/v1/apps") }

    public func application(_ app: ApplicationID) async throws -> ApplicationStatus {
        try await value(.GET, "/v1/apps/\(app)")
    }

    public func versions(of app: ApplicationID) async throws -> [VersionStatus] {
        try await value(.GET, "/v1/apps/\(app)/versions")
    }

    public func delete(_ app: ApplicationID) async throws { _ = try await bytes(.DELETE, "/v1/apps/\(app)") }

    public func environment(of app: ApplicationID) async throws -> [EnvironmentVariable] {
        try await value(.GET, "/v1/apps/\(app)/env")
    }

    public func setEnvironment(_ variables: [EnvironmentVariable], of app: ApplicationID) async throws {
        let body = Array(try JSONFormat.encoder().encode(variables))
        _ = try await bytes(.PATCH, "/v1/apps/\(app)/env", body: .bytes(body))
    }

    public func unsetEnvironment(_ name: String, of app: ApplicationID) async throws {
        _ = try await bytes(.DELETE, "/v1/apps/\(app)/env/\(name)")
    }

    /// Uploads an archive and follows its deployment to the end.
    public func deploy(
        _ archive: URL,
        bytes: Int,
        as app: ApplicationID?,
        onUpload: @escaping @Sendable (Int) -> Void,
        onEvent: @Sendable (DeploymentEvent) async -> Void
    ) async throws -> Deployment {
        try await deployment(
            "/v1/deployments" + (app.map { "?app=\($0)" } ?? ""),
            body: .file(archive, bytes: bytes, onProgress: onUpload),
            onEvent: onEvent
        )
    }

    /// Takes an earlier version into use; without one the version before the current.
    public func rollback(
        _ app: ApplicationID,
        to version: VersionPrefix?,
        onEvent: @Sendable (DeploymentEvent) async -> Void
    ) async throws -> Deployment {
        let body = Array(try JSONFormat.encoder().encode(["version": version].compactMapValues { $0 }))
        return try await deployment("/v1/apps/\(app)/rollback", body: .bytes(body), onEvent: onEvent)
    }

    /// Hands over the records of an app's log one by one; with `follow` until the task is cancelled.
    public func logs(
        of app: ApplicationID,
        since: Date?,
        follow: Bool,
        onRecord: @Sendable (LogRecord) async throws -> Void
    ) async throws {
        var query = follow ? ["follow=true"] : []
        if let since { query.append("since=\(JSONFormat.time(since))") }
        let path = "/v1/apps/\(app)/logs" + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
        try await HTTPConnection(endpoint: endpoint).send(head(.GET, path), body: .empty) { head, reader in
            try await Self.requireSuccess(head, reader)
            let decoder = JSONFormat.decoder()
            while let line = try await reader.line() {
                guard !line.isEmpty else { continue }
                let data = Data(line)
                if let failure = try? decoder.decode([String: Problem].self, from: data)["error"] {
                    throw failure.error
                }
                try await onRecord(try Self.decode(LogRecord.self, data))
            }
        }
    }

    private func deployment(
        _ path: String,
        body: HTTPConnection.Body,
        onEvent: @Sendable (DeploymentEvent) async -> Void
    ) async throws -> Deployment {
        var request = head(.POST, path)
        request.headers.add(name: "accept", value: "application/x-ndjson")
        return try await HTTPConnection(endpoint: endpoint).send(request, body: body) { head, reader in
            try await Self.requireSuccess(head, reader)
            while let line = try await reader.line() {
                guard !line.isEmpty else { continue }
                switch try Self.decode(DeploymentLine.self, Data(line)) {
                case .event(let event): await onEvent(event)
                case .deployment(let deployment): return deployment
                case .error(let error): throw error
                }
            }
            throw MartletError(
                .unavailable,
                "the deployment's progress broke off; see `martlet apps` for what became of it"
            )
        }
    }

    func value<Value: Decodable & Sendable>(
        _ method: HTTPMethod,
        _ path: String
    ) async throws -> Value {
        try Self.decode(Value.self, Data(try await bytes(method, path)))
    }

    func value<Value: Decodable & Sendable>(
        _ method: HTTPMethod,
        _ path: String,
        _ order: some Encodable
    ) async throws -> Value {
        let body = Array(try JSONFormat.encoder().encode(order))
        return try Self.decode(Value.self, Data(try await bytes(method, path, body: .bytes(body))))
    }

    /// Writes the body of an answer to a new file, piece by piece.
    func download(_ path: String, to file: URL) async throws -> Int {
        try await HTTPConnection(endpoint: endpoint).send(head(.GET, path), body: .empty) { head, reader in
            try await Self.requireSuccess(head, reader)
            guard FileManager.default.createFile(atPath: file.path(percentEncoded: false), contents: nil)
            else {
                throw MartletError(.badRequest, "\(file.path(percentEncoded: false)) cannot be written")
            }
            let handle = try FileHandle(forWritingTo: file)
            var bytes = 0
            while let piece = try await reader.piece() {
                try handle.write(contentsOf: piece)
                bytes += piece.count
            }
            try handle.synchronize()
            try handle.close()
            return bytes
        }
    }

    func bytes(
        _ method: HTTPMethod,
        _ path: String,
        body: HTTPConnection.Body = .empty
    ) async throws -> [UInt8] {
        try await HTTPConnection(endpoint: endpoint).send(head(method, path), body: body) { head, reader in
            try await Self.requireSuccess(head, reader)
            return try await reader.all(upTo: Self.maximumAnswerBytes)
        }
    }

    func head(_ method: HTTPMethod, _ path: String) -> HTTPRequestHead {
        var headers: HTTPHeaders = ["host": hostHeader, "user-agent": "martlet"]
        if let token { headers.add(name: "authorization", value: "Bearer \(token.secret)") }
        headers.add(name: "connection", value: "close")
        return HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)
    }

    private var hostHeader: String { String(endpoint.description.drop { $0 != "/" }.dropFirst(2)) }

    static func requireSuccess(_ head: HTTPResponseHead, _ reader: ResponseBodyReader) async throws {
        guard !(200..<300).contains(head.status.code) else { return }
        let body = try await reader.all(upTo: 1 << 20)
        if let problem = try? JSONFormat.decoder().decode(Problem.self, from: Data(body)) {
            throw problem.error
        }
        throw MartletError(
            .unavailable,
            "the answer was \(head.status.code) \(head.status.reasonPhrase), which is not Martlet's; is the address right?"
        )
    }

    static func decode<Value: Decodable>(_: Value.Type, _ data: Data) throws -> Value {
        do {
            return try JSONFormat.decoder().decode(Value.self, from: data)
        } catch {
            throw MartletError(
                .internal,
                "the answer cannot be understood; are `martlet` here and the host of the same version?",
                cause: error
            )
        }
    }
}
