import Synchronization

/// How urgent the boot of a worker is.
///
/// One that fills the pool takes the CPU time that apps leave; it gets its share from the moment that somebody waits for
/// it.
package final class BootHaste: Sendable {
    private let state: Mutex<State>

    private struct State {
        var isUrgent: Bool
        var group: (any ControlGroup)?
    }

    package init(isUrgent: Bool) { state = Mutex(State(isUrgent: isUrgent)) }

    /// The group of the worker, before anything runs in it.
    func attach(_ group: any ControlGroup) {
        state.withLock { state in
            state.group = group
            if !state.isUrgent { group.setYielding(true) }
        }
    }

    func hurry() {
        state.withLock { state in
            guard !state.isUrgent else { return }
            state.isUrgent = true
            state.group?.setYielding(false)
        }
    }
}
