import Control
import ControlAPI
import ControlClient
@testable import Daemon
import Foundation
import Logging
import TestSupport
import Testing

/// Two users of one host, through the API.
@Suite(.serialized) struct OwnerTests {
    @Test func `a name that another user has is refused through the API, and theirs stays as it is`()
        async throws
    {
        try await HostFixture.with { host in
            var random = SystemRandomNumberGenerator()
            let (ada, bob) = (APIToken.random(using: &random), APIToken.random(using: &random))
            let authenticator = TwoUsers(
                first: SingleTokenAuthenticator(token: ada, user: try UserID(validating: "ada")),
                second: SingleTokenAuthenticator(token: bob, user: try UserID(validating: "bob"))
            )
            let (ports, continuation) = AsyncStream<Int>.makeStream()
            let api = ControlAPI(
                configuration: APIConfiguration(
                    address: .host("127.0.0.1", port: 0),
                    domain: "localhost",
                    uploadsFolder: host.folder.appending(path: "uploads")
                ),
                service: host.daemon,
                authenticator: authenticator,
                version: "1.2.3",
                health: { Health(checks: []) },
                metrics: nil,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                onReady: { continuation.yield($0 ?? 0) }
            )
            let running = Task { try await api.run() }
            defer { running.cancel() }
            var iterator = ports.makeAsyncIterator()
            let endpoint = try Endpoint(validating: "http://127.0.0.1:\(await iterator.next() ?? 0)")
            func deploy(_ token: APIToken, _ app: String, _ text: String) async throws -> Deployment {
                let upload = try host.upload(app, Apps.saying(text))
                let bytes = try FileManager.default.attributesOfItem(atPath: upload.archive.path)[.size]
                return try await APIClient(endpoint: endpoint, token: token).deploy(
                    upload.archive,
                    bytes: (bytes as? NSNumber)?.intValue ?? 0,
                    as: try ApplicationID(validating: app),
                    onUpload: { _ in },
                    onEvent: { _ in }
                )
            }
            _ = try await deploy(ada, "shop", "ada's")
            do {
                _ = try await deploy(bob, "shop", "bob's")
                Issue.record("bob has taken ada's name")
            } catch let error as MartletError {
                #expect(error.code == .nameTaken)
                #expect(
                    error.message.contains("another user") && error.message.contains("--name"),
                    "\(error.message)"
                )
            }
            #expect(try await host.send(to: "shop").body == "ada's")
            _ = try await deploy(bob, "stall", "bob's")
            _ = try await deploy(ada, "shop", "ada's second")
            #expect(try await host.send(to: "shop").body == "ada's second")
            let owners = try await host.daemon.applications().map { "\($0.id) \($0.owner)" }
            #expect(owners == ["shop ada", "stall bob"])
        }
    }

    private struct TwoUsers: Authenticator {
        let first: SingleTokenAuthenticator
        let second: SingleTokenAuthenticator

        func user(presenting token: String) async -> UserID? {
            if let user = await first.user(presenting: token) { return user }
            return await second.user(presenting: token)
        }
    }
}
