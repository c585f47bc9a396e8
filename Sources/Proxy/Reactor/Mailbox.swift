import CProxy
import Synchronization

/// What other threads ask of a loop.
enum LoopMessage: Sendable {
    case route(any Router)
    case adopt(AdoptedConnection)
    case retryHeld(App)
    case refuseHeld(App, ReadyAnswer)
    case closeIdle(Upstream)
    case giveUp(Upstream)
    case endTunnels(App)
    case release(ConnectionKey, serial: UInt64, GateRelease)
    case drain
    /// Called when a drain has left no connection, or the loop has ended.
    case whenDrained(@Sendable () -> Void)
    case stop
    /// Answered when everything sent before has been done.
    case call(@Sendable () -> Void)
}

/// A connection that was accepted elsewhere.
struct AdoptedConnection: Sendable {
    let descriptor: Int32
    let client: String
    let port: UInt16
    let isSecure: Bool
    let peers: PeerGroup?
}

/// Messages for a loop, in order.
///
/// The loop is woken once for many.
final class Mailbox: Sendable {
    let descriptor: Int32
    private let messages = Mutex<(queue: [LoopMessage], isClosed: Bool)>(([], false))

    init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { cproxy_close(descriptor) }

    /// A message to a loop that has ended is dropped, but a call is made at once, and a descriptor closed.
    func send(_ message: LoopMessage) {
        let (isClosed, isFirst) = messages.withLock { state in
            guard !state.isClosed else { return (true, false) }
            state.queue.append(message)
            return (false, state.queue.count == 1)
        }
        if isClosed { return refuse(message) }
        if isFirst { cproxy_eventfd_signal(descriptor) }
    }

    func take() -> [LoopMessage] {
        cproxy_eventfd_drain(descriptor)
        return messages.withLock { state in
            let queue = state.queue
            state.queue = []
            return queue
        }
    }

    func close() {
        let rest = messages.withLock { state in
            state.isClosed = true
            let queue = state.queue
            state.queue = []
            return queue
        }
        rest.forEach(refuse)
    }

    private func refuse(_ message: LoopMessage) {
        switch message {
        case .call(let body), .whenDrained(let body): body()
        case .adopt(let connection): cproxy_close(connection.descriptor)
        default: break
        }
    }
}
