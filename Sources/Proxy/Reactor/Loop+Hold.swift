import Glibc
import Synchronization

// Requests that wait: until the router is asked again, or until an upstream's backlog has room. Their bytes stay in the
// connection's stash; nothing more is read from the client, so that waiting is bounded in bytes too.
extension Loop {
    /// The router said: not now.
    ///
    /// `count` bytes of `input` are the request so far, and perhaps more.
    func hold(_ front: Front, _ count: Int, _ app: App) {
        if let exchange = front.exchange {
            // Taken anew after a lost connection, and now to be held.
            front.heldSince = exchange.startedAt
            if exchange.isCounted { settle(exchange, .upstreamFailed(.closedBeforeAnswer)) }
            endExchange(exchange)
        }
        front.input.set(input, count)
        park(front, app)
    }

    func park(_ front: Front, _ app: App) {
        if front.heldSince == 0 { front.heldSince = now }
        if front.heldUntil == 0 { front.heldUntil = nowMilliseconds &+ app.holdMilliseconds }
        let bytes = front.input.count
        guard app.held.add(1, ordering: .acquiringAndReleasing).newValue <= app.limits.heldRequests else {
            app.held.subtract(1, ordering: .acquiringAndReleasing)
            return refuseHeld(front, app, .tooManyHeld)
        }
        guard shared.heldBytes.add(bytes, ordering: .relaxed).newValue <= settings.limits.heldBytes else {
            app.held.subtract(1, ordering: .acquiringAndReleasing)
            shared.heldBytes.subtract(bytes, ordering: .relaxed)
            return refuseHeld(front, app, .tooManyHeld)
        }
        guard front.heldUntil > nowMilliseconds else {
            app.held.subtract(1, ordering: .acquiringAndReleasing)
            shared.heldBytes.subtract(bytes, ordering: .relaxed)
            return refuseHeld(front, app, .heldTooLong)
        }
        cell(app).add(.held)
        front.phase = .parked
        front.waitsFor = app
        front.parkedBytes = Int32(bytes)
        parked[app.index, default: []].append(front)
        front.deadline = front.heldUntil
        wheel.schedule(front.descriptor, at: front.deadline / Self.tickMilliseconds + 1)
    }

    /// The connection waits no more, for whatever reason.
    func unpark(_ front: Front) {
        front.phase = .head
        guard let app = front.waitsFor else {
            backlogged.removeAll { $0 === front }
            return
        }
        front.waitsFor = nil
        app.held.subtract(1, ordering: .acquiringAndReleasing)
        shared.heldBytes.subtract(Int(front.parkedBytes), ordering: .relaxed)
        guard var waiting = parked.removeValue(forKey: app.index) else { return }
        waiting.removeAll { $0 === front }
        if !waiting.isEmpty { parked[app.index] = waiting }
    }

    /// Asks the router again for every request that waits for the app.
    func retryHeld(_ app: App) {
        for front in takeParked(app) { readFront(front) }
    }

    func refuseHeld(_ app: App, with ready: ReadyAnswer) {
        for front in takeParked(app) { answerHeld(front, app, ready, nil) }
    }

    private func takeParked(_ app: App) -> [Front] {
        guard let waiting = parked.removeValue(forKey: app.index) else { return [] }
        for front in waiting {
            front.waitsFor = nil
            front.phase = .head
            front.needsMore = false
            shared.heldBytes.subtract(Int(front.parkedBytes), ordering: .relaxed)
        }
        app.held.subtract(waiting.count, ordering: .acquiringAndReleasing)
        return waiting
    }

    func refuseHeld(_ front: Front, _ app: App, _ failure: UpstreamFailure) {
        if front.phase == .parked { unpark(front) }
        cell(app).add(failure)
        answerHeld(front, app, Refusals.answer(failure), failure)
    }

    private func answerHeld(_ front: Front, _ app: App, _ ready: ReadyAnswer, _ failure: UpstreamFailure?) {
        let count = front.input.move(to: input)
        let result = head.pointee.scan(input, count, table: requestTable, limits: settings.head)
        guard result == .complete else { return closeFront(front) }
        respond(front, count, ready, app, outcome: failure.map { .upstreamFailed($0) })
    }

    /// The upstream's backlog is full: the request waits a moment.
    func waitForBacklog(_ front: Front, _ exchange: Exchange) {
        if exchange.backloggedSince == 0 { exchange.backloggedSince = nowMilliseconds }
        takeAgain(exchange, front)
        front.phase = .parked
        backlogged.append(front)
        setDeadline(front, after: settings.connectTime + 1000)
    }

    func retryBacklogged() {
        let waiting = backlogged
        backlogged.removeAll(keepingCapacity: true)
        for front in waiting where front.phase == .parked {
            front.phase = .head
            readFront(front)
        }
    }
}
