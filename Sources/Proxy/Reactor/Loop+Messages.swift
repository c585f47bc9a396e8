import CProxy

// What other threads ask for, and the end.
extension Loop {
    func handle(_ message: LoopMessage) {
        switch message {
        case .route(let router): routes = Routes(router)
        case .adopt(let connection): adopt(connection)
        case .retryHeld(let app): retryHeld(app)
        case .refuseHeld(let app, let ready): refuseHeld(app, with: ready)
        case .closeIdle(let upstream): closeIdle(upstream)
        case .giveUp(let upstream): giveUp(upstream)
        case .endTunnels(let app): endTunnels(app)
        case .release(let key, let serial, let release): self.release(key, serial, release)
        case .drain: beginDraining()
        case .stop: isStopped = true
        case .call(let body): body()
        case .whenDrained(let body): onDrained.append(body)
        }
    }

    /// Stops accepting, closes what is idle, and lets the rest finish.
    private func beginDraining() {
        guard !isDraining else { return }
        // What is in the backlog has been accepted by the kernel on our behalf: it is served too.
        for index in listeners.indices { acceptAll(listenerIndex: index) }
        isDraining = true
        for listener in listeners { cproxy_close(listener.descriptor) }
        listeners = []
        for front in fronts {
            guard let front else { continue }
            let isIdle = front.phase == .head && front.input.isEmpty && front.output.isEmpty
            // A request may have arrived a moment ago: only what has nothing to read is idle.
            guard isIdle else { continue }
            if front.isReadable || front.requests == 0 || cproxy_is_quiet(front.descriptor) == 0 {
                front.isReadable = true
                setDeadline(front, after: 1000)
                enqueue(front)
            } else {
                closeFront(front)
            }
        }
        for pool in pools {
            guard let pool else { continue }
            while let back = pool.idle.last { closeBack(back) }
        }
    }

    func finishDraining() {
        guard frontCount == 0, queue.isEmpty else { return }
        let waiting = onDrained
        onDrained = []
        waiting.forEach { $0() }
    }
}
