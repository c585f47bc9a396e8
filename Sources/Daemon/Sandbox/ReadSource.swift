import Dispatch

/// Calls back when a descriptor can be read, on a serial queue, until it is cancelled.
///
/// - Invariant: a dispatch source may be used from any thread; the wrapped one is never replaced.
final class ReadSource: @unchecked Sendable {
    private let source: any DispatchSourceRead

    /// Watches a descriptor once activated.
    ///
    /// `onReadable` gets the source, so that it can cancel it. `onEnd` is called once after the last `onReadable`: the
    /// place to close the descriptor.
    init(
        _ descriptor: Int32,
        queue: DispatchQueue,
        onReadable: @escaping @Sendable (ReadSource) -> Void,
        onEnd: @escaping @Sendable () -> Void
    ) {
        source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
        // The handlers keep the source alive until it is cancelled.
        source.setEventHandler { [self] in onReadable(self) }
        source.setCancelHandler { [self] in
            source.setEventHandler {}
            onEnd()
        }
    }

    func activate() { source.activate() }

    func cancel() { source.cancel() }
}
