import CSandbox
import Dispatch
import Glibc
import Synchronization

/// Calls back when a descriptor can be read, on a serial queue, until it is cancelled.
///
/// In place of Dispatch's own read source, which on Linux reports data together with a hang-up once and never
/// again: a reader that doesn't empty the descriptor in that call never learns of the end. This one reports for as
/// long as there is something to read, the end included.
final class ReadSource: Sendable {
    private enum State {
        case idle
        case active
        case ended
    }

    private let descriptor: Int32
    private let queue: DispatchQueue
    private let onReadable: @Sendable (ReadSource) -> Void
    private let onEnd: @Sendable () -> Void
    private let token: UInt64
    private let state = Mutex(State.idle)
    /// How long nothing is reported after the current call.
    private let pause = Mutex(Duration.zero)

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
        self.descriptor = descriptor
        self.queue = queue
        self.onReadable = onReadable
        self.onEnd = onEnd
        token = Readiness.shared.newToken()
    }

    /// Starts to watch; the source stays alive by itself until it is cancelled.
    func activate() {
        let isFirst = state.withLock { state in
            guard state == .idle else { return false }
            state = .active
            return true
        }
        if isFirst { Readiness.shared.add(self, descriptor: descriptor, token: token) }
    }

    /// Ends the watch; may be called from any thread, and again.
    func cancel() { queue.async { self.end() } }

    /// Called by `onReadable`: it is not called again for a time.
    func rest(for time: Duration) { pause.withLock { $0 = time } }

    fileprivate func becameReadable() {
        queue.async {
            guard self.state.withLock({ $0 }) == .active else { return }
            self.onReadable(self)
            let pause = self.pause.withLock { pause in
                defer { pause = .zero }
                return pause
            }
            // Still active unless `end` ran meanwhile, which happens on this queue too.
            guard pause > .zero else { return self.arm() }
            self.queue.asyncAfter(deadline: .now() + .nanoseconds(Int(pause / .nanoseconds(1)))) {
                self.arm()
            }
        }
    }

    private func arm() {
        guard state.withLock({ $0 }) == .active else { return }
        Readiness.shared.arm(descriptor: descriptor, token: token)
    }

    private func end() {
        let before = state.withLock { state in
            defer { state = .ended }
            return state
        }
        guard before != .ended else { return }
        // Out of the poll set before the descriptor is closed, so that its number can't be taken for another's.
        if before == .active { Readiness.shared.remove(descriptor: descriptor, token: token) }
        onEnd()
    }
}

/// One thread of the process that waits for all sources.
private final class Readiness: Sendable {
    private struct Table {
        var next: UInt64 = 1
        var sources: [UInt64: ReadSource] = [:]
    }

    static let shared = Readiness()

    private let poll: Int32
    private let table = Mutex(Table())

    private init() {
        poll = epoll_create1(CInt(EPOLL_CLOEXEC))
        precondition(poll >= 0, "epoll_create1 failed: no descriptor is left")
        let context = Unmanaged.passRetained(self).toOpaque()
        var thread = pthread_t()
        let failure = pthread_create(
            &thread,
            nil,
            { context in
                if let context { Unmanaged<Readiness>.fromOpaque(context).takeUnretainedValue().run() }
                return nil
            },
            context
        )
        precondition(failure == 0, "pthread_create failed: no thread is left")
        pthread_detach(thread)
    }

    func newToken() -> UInt64 {
        table.withLock { table in
            defer { table.next += 1 }
            return table.next
        }
    }

    func add(_ source: ReadSource, descriptor: Int32, token: UInt64) {
        table.withLock { $0.sources[token] = source }
        if control(EPOLL_CTL_ADD, descriptor, token) != 0 {
            // A plain file can't be polled, and can always be read.
            source.becameReadable()
        }
    }

    func arm(descriptor: Int32, token: UInt64) {
        let source = table.withLock { $0.sources[token] }
        if let source, control(EPOLL_CTL_MOD, descriptor, token) != 0 { source.becameReadable() }
    }

    func remove(descriptor: Int32, token: UInt64) {
        _ = table.withLock { $0.sources.removeValue(forKey: token) }
        _ = control(EPOLL_CTL_DEL, descriptor, token)
    }

    private func control(_ operation: Int32, _ descriptor: Int32, _ token: UInt64) -> Int32 {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLONESHOT.rawValue
        event.data.u64 = token
        return epoll_ctl(poll, operation, descriptor, &event)
    }

    private func run() -> Never {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while true {
            let count = epoll_wait(poll, &events, Int32(events.count), -1)
            for index in 0..<max(0, Int(count)) {
                let token = events[index].data.u64
                // A token that is gone belongs to a source that ended after the kernel made the list.
                table.withLock { $0.sources[token] }?.becameReadable()
            }
        }
    }
}
