public import Control
public import Temporal

/// The workflow `host/<id>`, as far as hosts speak to it.
///
/// A host that starts sends ``register`` with `signalWithStart` on ``ClusterNames/controlQueue``, and again whenever its
/// session has ended while it goes on. The workflow then runs the activity `session` on the host's queue.
public enum HostWorkflowContract: WorkflowDefinition {
    public typealias Input = HostWorkflowInput
    public typealias Output = Nothing
    public static let name = "Host"

    public static let register = SignalDefinition<HostRegistration>("register")
    /// The host has finished its work and stops: its apps have been moved, or it comes back soon with the same data.
    public static let leave = SignalDefinition<HostLeave>("leave")
}

/// What a host's workflow begins with; more than the name only when it continues an earlier run.
public struct HostWorkflowInput: Codable, Sendable {
    public var host: HostID
    public var memory: HostWorkflowMemory?

    public init(host: HostID, memory: HostWorkflowMemory? = nil) {
        self.host = host
        self.memory = memory
    }
}

/// What one run of a host's workflow hands to the next.
public struct HostWorkflowMemory: Codable, Sendable {
    public var registration: HostRegistration?
    public var isDraining: Bool
    /// Whether the slicer knows the host as online.
    public var isOnline: Bool
    /// The highest term of its lease that is known to be over; nil where none is.
    public var endedTerm: Int?

    public init(registration: HostRegistration?, isDraining: Bool, isOnline: Bool, endedTerm: Int? = nil) {
        self.registration = registration
        self.isDraining = isDraining
        self.isOnline = isOnline
        self.endedTerm = endedTerm
    }
}

/// A host that stops on purpose.
public struct HostLeave: Codable, Sendable {
    public var incarnation: String

    public init(incarnation: String) { self.incarnation = incarnation }
}

/// The workflow `slicer`, as far as hosts speak to it.
public enum SlicerContract {
    /// The routes as they are now.
    public static let table = QueryDefinition<Nothing, RouteTable>("table")
}
