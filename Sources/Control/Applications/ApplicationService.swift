public import struct Foundation.Date
public import struct Foundation.URL

/// What can be done with apps: the API calls it, a host or the workflows of a cluster answer it.
///
/// Every method throws ``MartletError``; `not_found` where the app does not exist.
public protocol ApplicationService: Sendable {
    /// Takes a new version into use and reports each step; an app that serves goes on serving until the new version does.
    ///
    /// - Throws: ``MartletError`` with the step's code; the version that served before still serves then.
    func deploy(
        _ upload: Upload,
        onEvent: @escaping @Sendable (DeploymentEvent) async -> Void
    ) async throws -> Deployment

    /// Takes an earlier version into use again: the given one, or the one before the current.
    func rollback(
        _ app: ApplicationID,
        to version: VersionID?,
        onEvent: @escaping @Sendable (DeploymentEvent) async -> Void
    ) async throws -> Deployment

    /// All apps, by name.
    func applications() async throws -> [ApplicationStatus]

    func application(_ app: ApplicationID) async throws -> ApplicationStatus

    /// The versions that the app can go back to, newest first.
    func versions(of app: ApplicationID) async throws -> [VersionStatus]

    /// Stops the app and removes its versions, data, environment and logs.
    func delete(_ app: ApplicationID) async throws

    /// Variables and secrets by name; the values of secrets are never returned.
    func environment(of app: ApplicationID) async throws -> [EnvironmentVariable]

    /// Adds or replaces variables; they apply at the next start of a worker.
    func setEnvironment(_ variables: [EnvironmentVariable], of app: ApplicationID) async throws

    func unsetEnvironment(_ names: [String], of app: ApplicationID) async throws

    /// The app's log from `since` on, or its kept tail; with `follow` the stream goes on until it is cancelled.
    func logs(
        of app: ApplicationID,
        since: Date?,
        follow: Bool
    ) async throws -> AsyncThrowingStream<LogRecord, any Error>
}

/// An archive that has arrived and waits to become a version.
public struct Upload: Sendable {
    /// The app's name as the caller gave it; without it `name` of `martlet.json` decides.
    public var name: ApplicationID?
    /// A `.tar.gz` file on the local disk, within the size limit, removed by the caller afterwards.
    ///
    /// Its content is not to be trusted.
    public var archive: URL
    public var owner: UserID

    public init(name: ApplicationID?, archive: URL, owner: UserID) {
        self.name = name
        self.archive = archive
        self.owner = owner
    }
}
