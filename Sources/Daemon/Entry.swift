import Control
import Foundation

/// What the daemon knows of one app.
///
/// It is kept for every app, so what only awake ones need is in ``Awake``.
final class Entry {
    var record: StateStore.Application
    var machine = LifeMachine()
    let cell: RouteCell
    /// The workers that run a version of it; nil while it sleeps.
    var awake: Awake?
    var lastFailure: ApplicationStatus.Failure?
    /// A deployment, a rollback or a removal is under way.
    var isChanging = false

    init(record: StateStore.Application, cell: RouteCell) {
        self.record = record
        self.cell = cell
    }

    final class Awake {
        var instances: [InstanceID: Instance] = [:]
        var starts: Set<InstanceID> = []
    }
}
