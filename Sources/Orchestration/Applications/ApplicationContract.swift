package import Control
package import Temporal

/// What an app's workflow begins with; a state only when it continues an earlier run.
package struct ApplicationInput: Codable, Sendable {
    package var app: ApplicationID
    package var timing: ApplicationTiming
    package var state: ApplicationMemory?

    package init(
        app: ApplicationID,
        timing: ApplicationTiming = ApplicationTiming(),
        state: ApplicationMemory? = nil
    ) {
        self.app = app
        self.timing = timing
        self.state = state
    }
}

/// How long the steps of an app's operations may take, in milliseconds.
package struct ApplicationTiming: Codable, Sendable, Equatable {
    /// A host that does not begin with an order within this is taken for dead.
    package var scheduleToStart = 5000
    /// A host that gives no sign of life during an order for so long is taken for dead.
    package var heartbeat = 6000
    /// Downloads, installing dependencies, restoring databases.
    package var long = 600_000
    /// Everything else, beyond the limits that it has of its own.
    package var short = 30_000
    /// Running requests, when an app moves.
    package var drain = 10_000
    /// A host that has closed an app for a move takes it back after so long without news.
    package var patience = 20_000
    /// Waiting for the slicer to name a host.
    package var assignment = 30_000
    /// Between attempts to bring an app back into service.
    package var retry = 1000
    /// Events after which the workflow continues as a new run.
    package var historyEvents = 2000

    package init() {}
}

/// Takes a new version into use.
package struct DeployRequest: Codable, Sendable {
    /// The caller's name for the operation; also that of the update, so that a repeated call is one.
    package var operation: String
    package var version: VersionID
    package var artifactBytes: Int
    package var owner: UserID

    package init(operation: String, version: VersionID, artifactBytes: Int, owner: UserID) {
        self.operation = operation
        self.version = version
        self.artifactBytes = artifactBytes
        self.owner = owner
    }
}

/// Takes an earlier version into use; nil for the one before the one that serves.
package struct RollbackRequest: Codable, Sendable {
    package var operation: String
    package var version: VersionID?

    package init(operation: String, version: VersionID?) {
        self.operation = operation
        self.version = version
    }
}

/// Changes variables: those set win over those removed.
package struct ConfigureRequest: Codable, Sendable {
    package var operation: String
    package var set: [SealedVariable]
    package var removed: [String]

    package init(operation: String, set: [SealedVariable], removed: [String]) {
        self.operation = operation
        self.set = set
        self.removed = removed
    }
}

/// Takes the app away for good.
package struct DeleteRequest: Codable, Sendable {
    package var operation: String

    package init(operation: String) { self.operation = operation }
}

/// What an update of an app came to.
package struct OperationResult: Codable, Sendable {
    package var operation: OperationRecord
    package var previousVersion: VersionID?
    package var warnings: [String] = []
}

/// An app's news for the slicer: the input of its signals `placed` and `stayed`.
package struct PlacementNews: Codable, Sendable {
    package var app: ApplicationID
    package var host: HostID
    package var epoch: Int
    package var isAwake: Bool
}

/// The workflow `app/<name>`.
extension ApplicationWorkflow {
    package static let deploy = UpdateDefinition<DeployRequest, OperationResult>("deploy")
    package static let rollback = UpdateDefinition<RollbackRequest, OperationResult>("rollback")
    package static let configure = UpdateDefinition<ConfigureRequest, OperationResult>("configure")
    package static let delete = UpdateDefinition<DeleteRequest, OperationResult>("delete")
    package static let assign = SignalDefinition<PlacementDecision>("assign")
    package static let ended = SignalDefinition<EndedLease>("ended")
    package static let state = QueryDefinition<Nothing, ApplicationMemory>("state")
    package static let operation = QueryDefinition<String, OperationRecord?>("operation")
}

/// The workflow `slicer`, as apps, hosts and the API speak to it.
extension SlicerWorkflow {
    package static let hostOnline = SignalDefinition<HostRegistration>("hostOnline")
    package static let hostLost = SignalDefinition<EndedLease>("hostLost")
    package static let hostLeft = SignalDefinition<HostLeft>("hostLeft")
    package static let ask = SignalDefinition<ApplicationID>("ask")
    package static let placed = SignalDefinition<PlacementNews>("placed")
    package static let stayed = SignalDefinition<PlacementNews>("stayed")
    package static let gone = SignalDefinition<ApplicationID>("gone")
    package static let relocate = UpdateDefinition<Relocation, PlacementDecision>("relocate")
    package static let drain = UpdateDefinition<HostID, Nothing>("drain")
    package static let undrain = UpdateDefinition<HostID, Nothing>("undrain")
    package static let hosts = QueryDefinition<Nothing, [HostSummary]>("hosts")
    package static let slices = QueryDefinition<Nothing, AssignmentSummary>("slices")
    package static let residences = QueryDefinition<Nothing, [ApplicationResidence]>("residences")
    package static let residence = QueryDefinition<ApplicationID, ApplicationResidence?>("residence")
}

/// A host that has gone with nothing left on it.
package struct HostLeft: Codable, Sendable {
    package var host: HostID
}

package struct Relocation: Codable, Sendable {
    package var app: ApplicationID
    package var to: HostID

    package init(app: ApplicationID, to: HostID) {
        self.app = app
        self.to = to
    }
}
