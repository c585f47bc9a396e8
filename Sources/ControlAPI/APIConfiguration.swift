public import Foundation

/// How the API is to run.
public struct APIConfiguration: Sendable {
    public enum Address: Sendable, Equatable {
        /// A port of one of the machine's addresses; 0 takes a free one.
        case host(String, port: Int)
        case unixSocket(path: String)
    }

    /// Where it listens, usually behind the ingress.
    public var address: Address
    /// Apps answer at names below this one.
    public var domain: String
    /// The folder for archives on their way in; leftovers in it are removed at the start.
    public var uploadsFolder: URL
    public var maximumUploadBytes: Int
    /// Uploads and deployments at the same time; more are told to come back.
    public var maximumDeployments: Int
    /// A connection on which nothing moves for so long is closed.
    public var idleTimeout: Duration
    /// Whether `/metrics` asks for the token, too; it tells the names of apps.
    public var protectsMetrics: Bool
    /// Between two signs of life on a log that is followed.
    public var heartbeat: Duration
    /// The file of the dashboard, one page that needs no other; browsers get it at `/`.
    public var dashboard: URL?

    public init(
        address: Address,
        domain: String,
        uploadsFolder: URL,
        maximumUploadBytes: Int = 128 << 20,
        maximumDeployments: Int = 8,
        idleTimeout: Duration = .seconds(120),
        protectsMetrics: Bool = false,
        heartbeat: Duration = .seconds(15),
        dashboard: URL? = nil
    ) {
        self.address = address
        self.domain = domain
        self.uploadsFolder = uploadsFolder
        self.maximumUploadBytes = maximumUploadBytes
        self.maximumDeployments = maximumDeployments
        self.idleTimeout = idleTimeout
        self.protectsMetrics = protectsMetrics
        self.heartbeat = heartbeat
        self.dashboard = dashboard
    }
}
