import CProxy
import Glibc
import Synchronization

// How requests begin to count, are answered by the proxy itself, and end.
extension Loop {
    /// An exchange for the request in `input`; the one that the client's connection has, when it is taken anew.
    func begin(_ front: Front, _ count: Int, _ cell: AppCell?) -> Exchange {
        let isNew = front.exchange == nil
        let exchange = front.exchange ?? freeExchanges.popLast() ?? Exchange()
        exchange.machine = ExchangeMachine(head.pointee)
        front.exchange = exchange
        front.phase = .exchanging
        if exchange.isCounted && exchange.cell !== cell { uncount(exchange) }
        exchange.cell = cell
        guard isNew else { return exchange }
        exchange.reset()
        exchange.front = front
        exchange.serial = makeSerial()
        exchange.startedAt = front.heldSince != 0 ? front.heldSince : now
        exchange.note(head.pointee, requestTable)
        if exchange.requestIDCount == 0 { exchange.setRequestID(makeRequestID()) }
        if front.peers != nil { exchange.notePeer(head.pointee, input, requestTable) }
        return exchange
    }

    /// Counts the request as running.
    @inline(__always)
    func start(_ exchange: Exchange, _ app: App, _ front: Front) {
        exchange.isCounted = true
        app.running.add(1, ordering: .acquiringAndReleasing)
        if let told { told.started(makeRequest(front, input), app) }
    }

    func isOverLimit(_ exchange: Exchange, _ app: App) -> Bool {
        guard !exchange.isCounted else { return false }
        if exchange.machine.asksForUpgrade {
            return app.tunnels.load(ordering: .relaxed) >= app.limits.openTunnels
        }
        return app.running.load(ordering: .relaxed) >= app.limits.runningRequests
    }

    private func uncount(_ exchange: Exchange) {
        guard exchange.isCounted, let app = exchange.cell?.app else { return }
        exchange.isCounted = false
        if exchange.isTunnel {
            app.tunnels.subtract(1, ordering: .acquiringAndReleasing)
        } else {
            app.running.subtract(1, ordering: .acquiringAndReleasing)
        }
    }

    /// Writes to a client what it takes, and keeps the rest.
    ///
    /// False when the client is gone.
    @inline(__always)
    func send(_ front: Front, _ bytes: Bytes, _ count: Int) -> Bool {
        guard count > 0 else { return true }
        guard front.output.isEmpty else {
            front.output.append(bytes, count)
            return true
        }
        let sent = cproxy_send(front.descriptor, bytes, count)
        if sent == count { return true }
        return sendRest(front, sent, bytes, count)
    }

    private func sendRest(_ front: Front, _ sent: Int, _ bytes: Bytes, _ count: Int) -> Bool {
        if sent < 0 && sent != -Int(EAGAIN) { return false }
        let done = max(sent, 0)
        front.output.append(bytes + done, count - done)
        watchOutput(front, true)
        return true
    }

    /// Two pieces; small second pieces are copied behind the first, which must be in `output`.
    func send(
        _ front: Front,
        _ first: MutableBytes,
        _ firstCount: Int,
        _ second: Bytes,
        _ secondCount: Int
    ) -> Bool {
        if secondCount <= 4096 || !front.output.isEmpty {
            memcpy(first + firstCount, second, secondCount)
            return send(front, first, firstCount + secondCount)
        }
        let sent = cproxy_send2(front.descriptor, first, firstCount, second, secondCount)
        if sent == firstCount + secondCount { return true }
        if sent < 0 && sent != -Int(EAGAIN) { return false }
        let done = max(sent, 0)
        watchOutput(front, true)
        if done < firstCount {
            front.output.append(first + done, firstCount - done)
            front.output.append(second, secondCount)
        } else {
            front.output.append(second + (done - firstCount), secondCount - (done - firstCount))
        }
        return true
    }

    func flushFront(_ front: Front) {
        var isBroken = false
        front.output.consume { bytes, count in
            let sent = cproxy_send(front.descriptor, bytes, count)
            if sent >= 0 { return sent }
            if sent != -Int(EAGAIN) { isBroken = true }
            return 0
        }
        if isBroken { return clientLeft(front) }
        front.deadline = min(nowMilliseconds &+ settings.sendTime, front.exchange?.halfClosedUntil ?? .max)
        guard front.output.isEmpty else { return }
        watchOutput(front, false)
        if front.closesWhenSent { return finishClosing(front, hasUnread: true) }
        guard let exchange = front.exchange else {
            setDeadline(front, after: settings.idleTime)
            return enqueue(front)
        }
        if exchange.machine.answer == .tunnel {
            setDeadline(front, after: settings.tunnelIdleTime)
            return tunnelFlushed(exchange, front)
        }
        front.deadline = min(nowMilliseconds &+ settings.answerIdleTime, exchange.halfClosedUntil)
        if let back = exchange.back { readBack(back) }
    }

    /// Sends an answer of the proxy's own.
    func answer(_ front: Front, _ exchange: Exchange?, _ ready: ReadyAnswer, keepsClient: Bool) {
        var keeps = keepsClient && !isDraining
        var isHead = false
        if let exchange {
            exchange.status = ready.status
            exchange.hasBegun = true
            if !keeps { exchange.machine.doNotKeepClient() }
            exchange.machine.abandonRequest()
            isHead = exchange.machine.isHead
            keeps = exchange.machine.clientEnd != .close
        }
        var writer = ByteWriter(output)
        ready.head.withUnsafeBufferPointer { if let base = $0.baseAddress { writer.put(base, $0.count) } }
        if let exchange {
            writer.put("X-Request-Id: ")
            exchange.putRequestID(into: &writer)
            writer.put("\r\n")
            if front.peers != nil { putPeerLines(front, exchange, into: &writer) }
        }
        if !keeps {
            writer.put("Connection: close\r\n")
        } else if exchange?.machine.tellsKeepAlive == true {
            writer.put("Connection: keep-alive\r\n")
        }
        writer.put("\r\n")
        let hasBody = !isHead && ready.status != 204 && ready.status != 304
        let isAlive = ready.body.withUnsafeBufferPointer { body in
            guard hasBody, let base = body.baseAddress else { return send(front, output, writer.count) }
            return send(front, output, writer.count, base, min(body.count, Self.scratchBytes))
        }
        guard isAlive else {
            if exchange != nil { clientLeft(front) } else { closeFront(front) }
            return
        }
        guard let exchange else { return nextRequest(front, keeps: false, hasUnread: true) }
        exchange.bytesOut = hasBody ? ready.body.count : 0
        if exchange.back == nil && exchange.machine.clientEnd == .discardRest {
            settle(exchange, exchange.outcome ?? .completed)
            exchange.machine.markAnswered()
            setDeadline(front, after: settings.bodyTime)
            return enqueue(front)
        }
        let hasUnread = !exchange.machine.requestBody.isComplete
        settle(exchange, exchange.outcome ?? .completed)
        endExchange(exchange)
        nextRequest(front, keeps: keeps, hasUnread: hasUnread)
    }

    /// Refuses a request that is not as it must be, and closes: what follows cannot be trusted.
    func refuse(_ front: Front, _ exchange: Exchange?, _ refusal: Refusal) {
        shared.refusedRequests.add(1, ordering: .relaxed)
        if exchange == nil { logRefused(front, refusal) }
        guard let exchange else { return answer(front, nil, Refusals.answer(refusal), keepsClient: false) }
        if let back = exchange.back {
            exchange.back = nil
            closeBack(back)
        }
        exchange.outcome = .refused(refusal)
        if exchange.hasBegun {
            settle(exchange, .refused(refusal))
            endExchange(exchange)
            return closeFront(front)
        }
        answer(front, exchange, Refusals.answer(refusal), keepsClient: false)
    }

    /// Answers for an upstream that failed, if nothing of its answer has been sent.
    func fail(_ front: Front, _ exchange: Exchange, _ failure: UpstreamFailure) {
        let upstream = exchange.pool?.upstream
        if let back = exchange.back {
            exchange.back = nil
            closeBack(back)
        }
        guard !exchange.hasBegun else { return cut(exchange, front, failure) }
        exchange.cell?.add(failure)
        exchange.outcome = .upstreamFailed(failure)
        let decision = upstream.map { ask($0, front, exchange, failure) } ?? .answer
        switch decision {
        case .answer: answer(front, exchange, Refusals.answer(failure), keepsClient: true)
        case .respond(let ready): answer(front, exchange, ready, keepsClient: true)
        case .retry:
            guard mayRepeat(exchange, front, failure), Int(front.retries) < settings.limits.retries else {
                return answer(front, exchange, Refusals.answer(failure), keepsClient: true)
            }
            front.retries &+= 1
            exchange.outcome = nil
            exchange.cell?.add(.retried)
            takeAgain(exchange, front)
            enqueue(front)
        case .hold(let app):
            guard mayRepeat(exchange, front, failure) else {
                return answer(front, exchange, Refusals.answer(failure), keepsClient: true)
            }
            if !failure.leftRequestUntouched { front.retries &+= 1 }
            takeAgain(exchange, front)
            front.heldSince = exchange.startedAt
            if exchange.isCounted { settle(exchange, .upstreamFailed(failure)) }
            endExchange(exchange)
            park(front, app)
        }
    }

    /// Whether the request may be sent a second time.
    ///
    /// After an upstream that ended while it handled the request only once: it may be the request that ends it.
    private func mayRepeat(_ exchange: Exchange, _ front: Front, _ failure: UpstreamFailure) -> Bool {
        guard exchange.machine.isReplayable else { return false }
        if failure.leftRequestUntouched { return true }
        return (failure == .closedBeforeAnswer || failure == .lost) && exchange.machine.isIdempotent
            && exchange.machine.isUnanswered && front.retries == 0
    }

    private func ask(
        _ upstream: Upstream,
        _ front: Front,
        _ exchange: Exchange,
        _ failure: UpstreamFailure
    ) -> FailureDecision {
        let result = head.pointee.scan(
            exchange.raw,
            exchange.rawCount,
            table: requestTable,
            limits: settings.head
        )
        guard result == .complete else { return .answer }
        return routes.failed(failure, upstream, makeRequest(front, exchange.raw))
    }

    /// Ends the client's connection within an answer, so that it can tell that the answer is not whole.
    func cut(_ exchange: Exchange, _ front: Front, _ failure: UpstreamFailure?) {
        if let back = exchange.back {
            exchange.back = nil
            closeBack(back)
        }
        if let failure { exchange.cell?.add(failure) }
        settle(exchange, failure.map { .upstreamFailed($0) } ?? .withheld)
        endExchange(exchange)
        closeFront(front)
    }

    /// The client's connection broke or ended too early.
    func clientLeft(_ front: Front) {
        if let exchange = front.exchange { abandon(exchange, .clientLeft) }
        closeFront(front)
    }

    func abandon(_ exchange: Exchange, _ outcome: RequestSummary.Outcome) {
        if let back = exchange.back {
            exchange.back = nil
            closeBack(back)
        }
        settle(exchange, outcome)
        endExchange(exchange)
    }

    /// Counts, tells and logs a request that is over, once.
    @inline(__always)
    func settle(_ exchange: Exchange, _ outcome: RequestSummary.Outcome) {
        guard !exchange.isSettled, let front = exchange.front else { return }
        exchange.isSettled = true
        let duration = now &- exchange.startedAt
        let wasCounted = exchange.isCounted
        if let cell = exchange.cell {
            uncount(exchange)
            cell.add(status: exchange.status, nanoseconds: duration)
            cell.add(.bytesIn, exchange.bytesIn)
            cell.add(.bytesOut, exchange.bytesOut)
        }
        if log != nil { logRequest(exchange, front, outcome, duration) }
        if wasCounted, let told, let app = exchange.cell?.app {
            told.ended(
                RequestSummary(
                    app: app,
                    status: exchange.status,
                    wasTunnel: exchange.isTunnel,
                    bytesIn: exchange.bytesIn,
                    bytesOut: exchange.bytesOut,
                    duration: .nanoseconds(Int64(duration)),
                    outcome: outcome
                )
            )
        }
    }

    /// Lets go of an exchange, for another request to use.
    @inline(__always)
    func endExchange(_ exchange: Exchange) {
        exchange.front?.exchange = nil
        exchange.front = nil
        exchange.back = nil
        exchange.pool = nil
        exchange.cell = nil
        if freeExchanges.count < 256 { freeExchanges.append(exchange) }
    }

    /// Goes on to the next request of a connection, or ends it.
    @inline(__always)
    func nextRequest(_ front: Front, keeps: Bool, hasUnread: Bool) {
        guard keeps && !isDraining else { return beginClosing(front, hasUnread: hasUnread) }
        front.phase = .head
        front.needsMore = false
        front.heldUntil = 0
        front.heldSince = 0
        front.retries = 0
        setDeadline(front, after: settings.idleTime)
        if front.isReadable || !front.input.isEmpty { enqueue(front) }
    }

    func beginClosing(_ front: Front, hasUnread: Bool) {
        front.phase = .lingering
        if front.output.isEmpty {
            finishClosing(front, hasUnread: hasUnread)
        } else {
            front.closesWhenSent = true
            setDeadline(front, after: settings.sendTime)
        }
    }

    /// Closes at once where nothing of the client can be unread: the kernel would answer that with a reset,
    /// which takes the answer from a client that has not read it.
    ///
    /// Else ends our side first and waits for the client's.
    private func finishClosing(_ front: Front, hasUnread: Bool) {
        guard hasUnread || front.isReadable || !front.input.isEmpty else { return closeFront(front) }
        front.closesWhenSent = false
        front.input.clear()
        _ = cproxy_shutdown_write(front.descriptor)
        setDeadline(front, after: 2000)
        enqueue(front)
    }
}

/// The proxy's own answers, made once.
enum Refusals {
    private static let refusals: [ReadyAnswer] = Refusal.allCases.map {
        ReadyAnswer.error(status: $0.status, code: "\($0.code)", message: "\($0.message)")
    }

    private static let failures: [ReadyAnswer] = UpstreamFailure.allCases.map {
        ReadyAnswer.error(
            status: $0.status,
            code: "\($0.code)",
            message: "\($0.message)",
            retryAfterSeconds: $0.retryAfter ? 1 : nil
        )
    }

    static func answer(_ refusal: Refusal) -> ReadyAnswer { refusals[Int(refusal.rawValue)] }
    static func answer(_ failure: UpstreamFailure) -> ReadyAnswer { failures[Int(failure.rawValue)] }
}
