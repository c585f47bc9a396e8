import CProxy
import Glibc
import Synchronization

extension Loop {
    func add(_ listener: ListenerSocket) {
        let data = Tag.listener.rawValue << 62 | UInt64(listeners.count) << 32 | UInt64(listener.descriptor)
        listeners.append(listener)
        _ = cproxy_epoll_add_level(epoll, listener.descriptor, data)
    }

    func acceptAll(listenerIndex: Int) {
        guard listenerIndex < listeners.count else { return }
        let listener = listeners[listenerIndex]
        var text: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
        // Bounded, so that a flood of connections does not starve the ones that are open.
        for _ in 0..<64 {
            var port: UInt16 = 0
            let descriptor = withUnsafeMutablePointer(to: &text) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(CPROXY_ADDRESS_TEXT)) {
                    cproxy_accept(listener.descriptor, $0, &port)
                }
            }
            guard descriptor >= 0 else { return acceptFailed(-descriptor) }
            cproxy_set_no_delay(descriptor)
            let front = Front(
                descriptor: descriptor,
                generation: makeGeneration(),
                phase: listener.configuration.expectsProxyProtocol ? .preamble : .head,
                port: port,
                isSecure: false,
                trustsForwardedFields: listener.configuration.trustsForwardedFields,
                peers: listener.configuration.peers
            )
            withUnsafePointer(to: &text) {
                $0.withMemoryRebound(to: UInt8.self, capacity: Int(CPROXY_ADDRESS_TEXT)) {
                    front.setAddress($0, strnlen($0, Int(CPROXY_ADDRESS_TEXT)))
                }
            }
            begin(front)
        }
    }

    /// Out of descriptors: the connection stays in the backlog.
    ///
    /// A short pause keeps the loop from spinning on it.
    private func acceptFailed(_ error: Int32) {
        if error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS {
            shared.refusedConnections.add(1, ordering: .relaxed)
            closeOldestIdle()
            usleep(1000)
        }
    }

    /// Makes room by closing one connection that waits for a request.
    private func closeOldestIdle() {
        var oldest: Front?
        for front in fronts {
            guard let front, front.phase == .head, front.input.isEmpty, front.output.isEmpty else { continue }
            if front.deadline < oldest?.deadline ?? .max { oldest = front }
        }
        if let oldest { closeFront(oldest) }
    }

    func adopt(_ connection: AdoptedConnection) {
        let descriptor = connection.descriptor
        // While the loop drains too: whoever accepted it has a request that nobody else will answer.
        guard cproxy_set_nonblocking(descriptor) >= 0 else { return cproxy_close(descriptor) }
        let front = Front(
            descriptor: descriptor,
            generation: makeGeneration(),
            phase: .head,
            port: connection.port,
            isSecure: connection.isSecure,
            trustsForwardedFields: false,
            peers: connection.peers
        )
        front.isTCP = false
        front.watchesOutput = false
        var client = connection.client
        client.withUTF8 { address in
            if let base = address.baseAddress { front.setAddress(base, min(address.count, 64)) }
        }
        begin(front)
    }

    private func begin(_ front: Front) {
        let index = Int(front.descriptor)
        while index >= fronts.count {
            fronts.append(contentsOf: repeatElement(nil, count: max(256, fronts.count)))
        }
        fronts[index] = front
        frontCount += 1
        shared.acceptedConnections.add(1, ordering: .relaxed)
        let open = shared.openConnections.add(1, ordering: .relaxed).newValue
        let watches: Int32 = front.watchesOutput ? 1 : 0
        guard cproxy_epoll_add_edge(epoll, front.descriptor, eventData(front), watches) >= 0 else {
            return closeFront(front)
        }
        guard open <= settings.limits.connections else {
            shared.refusedConnections.add(1, ordering: .relaxed)
            answer(front, nil, Self.tooManyConnections, keepsClient: false)
            return
        }
        setDeadline(front, after: settings.headTime)
    }

    private func eventData(_ front: Front) -> UInt64 {
        Tag.front.rawValue << 62 | UInt64(front.generation) << 32 | UInt64(front.descriptor)
    }

    /// Asks to be told of room to write, or not any more.
    func watchOutput(_ front: Front, _ watches: Bool) {
        guard front.watchesOutput != watches, !front.isTCP else { return }
        front.watchesOutput = watches
        _ = cproxy_epoll_change_edge(epoll, front.descriptor, eventData(front), watches ? 1 : 0)
    }

    private static let tooManyConnections = ReadyAnswer.error(
        status: 503,
        code: "too_many_connections",
        message: "The server has as many open connections as its limit allows. Try again.",
        retryAfterSeconds: 1
    )

    func closeFront(_ front: Front) {
        guard front.phase != .closed else { return }
        if front.phase == .parked { unpark(front) }
        front.phase = .closed
        let index = Int(front.descriptor)
        if fronts[index] === front { fronts[index] = nil }
        wheel.cancel(front.descriptor)
        cproxy_close(front.descriptor)
        front.input.clear()
        front.output.clear()
        frontCount -= 1
        shared.openConnections.subtract(1, ordering: .relaxed)
    }

    func frontEvent(_ front: Front, _ events: UInt32) {
        if events & Events.writable != 0 && !front.output.isEmpty {
            flushFront(front)
            if front.phase == .closed { return }
        }
        guard events & Events.incoming != 0 else { return }
        front.isReadable = true
        if events & Events.ended != 0 { front.hasEnded = true }
        if events & Events.broken != 0 {
            if front.phase == .exchanging { clientLeft(front) } else { closeFront(front) }
            return
        }
        readFront(front)
        if front.hasEnded && front.phase != .closed { noteHalfClosed(front) }
    }

    /// The client has ended its side while it waits: it still gets its answer, but not for ever, because a client that
    /// is gone altogether looks the same.
    private func noteHalfClosed(_ front: Front) {
        if front.phase == .parked {
            front.deadline = min(front.deadline, nowMilliseconds + settings.halfClosedTime)
            return wheel.schedule(front.descriptor, at: front.deadline / Self.tickMilliseconds + 1)
        }
        guard front.phase == .exchanging, let exchange = front.exchange, exchange.machine.answer != .tunnel
        else {
            return
        }
        exchange.halfClosedUntil = nowMilliseconds + settings.halfClosedTime
        wheel.schedule(front.descriptor, at: exchange.halfClosedUntil / Self.tickMilliseconds + 1)
        front.deadline = min(front.deadline, exchange.halfClosedUntil)
    }
}

/// What epoll tells.
enum Events {
    static let writable = UInt32(CPROXY_OUT)
    /// The peer has ended its side.
    static let ended = UInt32(CPROXY_RDHUP)
    /// Both sides are ended, or the connection was reset.
    static let broken = UInt32(CPROXY_HUP | CPROXY_ERR)
    static let incoming = UInt32(CPROXY_IN | CPROXY_RDHUP | CPROXY_HUP | CPROXY_ERR)
}
