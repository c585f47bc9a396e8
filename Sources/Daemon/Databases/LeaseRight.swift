package import Storage
import Synchronization

/// A host's right to act, for those who ask at any moment and from any thread.
package final class LeaseRight: Sendable {
    private let state = Mutex<Lease<ContinuousClock>?>(nil)

    package init() {}

    package var lease: Lease<ContinuousClock>? {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }

    /// Whether the host may act now.
    package var isValid: Bool { lease?.isValid ?? false }
}
