package import AsyncHTTPClient
import Dispatch
import NIOCore

/// An HTTP client whose connections close when the last reference goes, unless they were closed before.
package final class OwnedHTTPClient: Sendable {
    package let client: HTTPClient

    /// Makes a client for requests to one host.
    ///
    /// `connections`: at most about this many.
    /// `host`: where requests go; a name below `localhost` is this machine, which not every resolver knows (RFC 6761, 6.3).
    package init(connections: Int, host: String? = nil) {
        var settings = HTTPClient.Configuration()
        settings.redirectConfiguration = .disallow
        settings.timeout = .init(connect: .seconds(5), read: .seconds(60))
        settings.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
        if let host, host.hasSuffix(".localhost") { settings.dnsOverride[host] = "127.0.0.1" }
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
    }

    // The client itself stays until its connections have closed.
    deinit { client.shutdown(queue: .global()) { _ in } }

    package func shutdown() async throws { try await client.shutdown() }
}
