/// By which names the parts of a cluster find each other in Temporal and in the object store.
public enum ClusterNames {
    /// Task queue of the workflows and of the activities of control.
    public static let controlQueue = "martlet-control"
    /// Identifier of the one workflow that knows which host owns what.
    public static let slicer = "slicer"

    /// Task queue of a host's activities: what ``HostOrders`` says.
    public static func queue(of host: HostID) -> String { "host-\(host)" }
    /// Identifier of a host's workflow.
    public static func workflow(of host: HostID) -> String { "host/\(host)" }
    /// Identifier of an app's workflow.
    public static func workflow(of app: ApplicationID) -> String { "app/\(app)" }
    /// Identifier of a user's workflow.
    public static func workflow(of user: UserID) -> String { "user/\(user)" }

    /// Where a version is kept in the object store, as it was uploaded.
    public static func artifact(_ version: VersionID) -> String { "artifacts/\(version).tar.gz" }
}
