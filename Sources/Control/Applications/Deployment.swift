public import struct Foundation.Date

/// The steps of a deployment in their order.
///
/// Each is idempotent, so an interrupted deployment is run again.
public enum DeploymentStep: String, Codable, Sendable, CaseIterable {
    /// The archive arrives.
    case upload
    /// The archive becomes a folder, and its settings are read.
    case unpack
    /// Dependencies are resolved and frozen.
    case resolve
    /// The script starts without an obvious error.
    case check
    /// The host gets the artifact.
    case prepare
    /// Databases come from the replica, if it has any.
    case restore
    /// A worker runs the new version, and requests go to it.
    case start
    /// The old version finishes its requests.
    case drain
    /// The old version's worker exits.
    case stop
}

/// One line of a deployment's progress.
public struct DeploymentEvent: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable {
        case started, progress, finished, failed
    }

    public var step: DeploymentStep
    public var state: State
    /// What a person reads beside the step.
    public var message: String?
    /// How much of the step is done, 0 to 1, where that is known.
    public var fraction: Double?
    /// Time since the step started.
    public var elapsedMilliseconds: Int?

    public init(
        _ step: DeploymentStep,
        _ state: State,
        message: String? = nil,
        fraction: Double? = nil,
        elapsedMilliseconds: Int? = nil
    ) {
        self.step = step
        self.state = state
        self.message = message
        self.fraction = fraction
        self.elapsedMilliseconds = elapsedMilliseconds
    }
}

/// The result of a deployment or a rollback.
public struct Deployment: Codable, Sendable, Equatable {
    public var app: ApplicationID
    public var version: VersionID
    /// The version that served before; the same as `version` where nothing changed.
    public var previousVersion: VersionID?
    /// Where the app answers, for example `http://guestbook.localhost:8080/`.
    public var url: String
    public var elapsedMilliseconds: Int
    /// What the person should know though the deployment worked.
    public var warnings: [String]

    public init(
        app: ApplicationID,
        version: VersionID,
        previousVersion: VersionID?,
        url: String,
        elapsedMilliseconds: Int,
        warnings: [String] = []
    ) {
        self.app = app
        self.version = version
        self.previousVersion = previousVersion
        self.url = url
        self.elapsedMilliseconds = elapsedMilliseconds
        self.warnings = warnings
    }
}

/// A version that an app has, as listings show it.
public struct VersionStatus: Codable, Sendable, Equatable {
    public var id: VersionID
    public var app: ApplicationID
    public var createdAt: Date
    public var artifactBytes: Int
    /// Whether requests go to this version.
    public var isCurrent: Bool

    public init(id: VersionID, app: ApplicationID, createdAt: Date, artifactBytes: Int, isCurrent: Bool) {
        self.id = id
        self.app = app
        self.createdAt = createdAt
        self.artifactBytes = artifactBytes
        self.isCurrent = isCurrent
    }
}
