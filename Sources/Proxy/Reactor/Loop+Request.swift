import CProxy
import Glibc
import Synchronization

// From the client: heads, bodies, and what a tunnel brings.
extension Loop {
    /// Goes on with a client's connection until the kernel has nothing more or something else must happen first.
    func readFront(_ front: Front) {
        // Bounded, so that one fast client does not keep the others waiting.
        var rounds = 16
        while true {
            guard rounds > 0 else { return enqueue(front) }
            rounds -= 1
            let goesOn: Bool
            switch front.phase {
            case .head: goesOn = readHead(front)
            case .exchanging: goesOn = continueRequest(front)
            case .preamble: goesOn = readPreamble(front)
            case .lingering: goesOn = linger(front)
            case .parked, .closed: goesOn = false
            }
            guard goesOn else { return }
        }
    }

    /// What a read brought.
    enum Received {
        case bytes(Int)
        case nothing
        case end
        case broken
    }

    @inline(__always)
    func receive(_ front: Front, into target: MutableBytes, room: Int) -> Received {
        let got = cproxy_recv(front.descriptor, target, room)
        if got > 0 {
            // A short read means that the kernel has no more, unless the end is known to follow.
            if got < room && !front.hasEnded { front.isReadable = false }
            return .bytes(got)
        }
        front.isReadable = false
        if got == 0 {
            front.hasEnded = true
            return .end
        }
        if got == -Int(EAGAIN) { return .nothing }
        if got == -Int(EINTR) {
            front.isReadable = true
            return .nothing
        }
        return .broken
    }

    private func readPreamble(_ front: Front) -> Bool {
        guard front.isReadable else { return false }
        var count = front.input.move(to: input)
        switch receive(
            front,
            into: input + count,
            room: ProxyHeader.maximumBytes + settings.head.headBytes - count
        ) {
        case .bytes(let more): count += more
        case .nothing: break
        case .end, .broken:
            closeFront(front)
            return false
        }
        switch ProxyHeader.scan(input, count) {
        case .incomplete:
            front.input.set(input, count)
            return front.isReadable
        case .refused:
            // Whoever speaks without the header is not the balancer, and gets nothing that tells of this server.
            shared.refusedConnections.add(1, ordering: .relaxed)
            closeFront(front)
            return false
        case .complete(let header):
            if !header.address.isEmpty {
                var address = header.address
                address.withUTF8 { if let base = $0.baseAddress { front.setAddress(base, $0.count) } }
                front.port = header.port
            }
            front.phase = .head
            front.input.set(input + header.length, count - header.length)
            return true
        }
    }

    private func readHead(_ front: Front) -> Bool {
        guard front.output.isEmpty else { return false }
        let known = front.input.count
        if (known == 0 || front.needsMore) && !front.isReadable { return false }
        var count = front.input.move(to: input)
        if count == 0 || front.needsMore {
            switch receive(front, into: input + count, room: settings.head.headBytes + 1024 - count) {
            case .bytes(let more): count += more
            case .nothing:
                front.input.set(input, count)
                return front.isReadable
            case .end, .broken:
                closeFront(front)
                return false
            }
            // A head that trickles in is looked at again only when it may be complete.
            if known > 0 && count < settings.head.headBytes && !mayEndHead(from: known, count) {
                front.input.set(input, count)
                return front.isReadable
            }
        }
        let result = head.pointee.scan(input, count, table: requestTable, limits: settings.head)
        switch result {
        case .complete:
            front.needsMore = false
            front.headDeadline = 0
            takeRequest(front, count)
            return front.phase != .closed
        case .incomplete:
            front.input.set(input, count)
            front.needsMore = true
            if front.headDeadline == 0 {
                setDeadline(front, after: settings.headTime)
                front.headDeadline = front.deadline
            }
            return front.isReadable
        case .refused(let refusal):
            refuse(front, nil, refusal)
            return front.phase != .closed
        }
    }

    /// Whether an empty line ends in the bytes from `start` on.
    private func mayEndHead(from start: Int, _ count: Int) -> Bool {
        var index = max(start, 1)
        while index < count {
            guard let found = memchr(input + index, 10, count - index) else { return false }
            let position = found.assumingMemoryBound(to: UInt8.self) - input
            if input[position - 1] == 10 { return true }
            if position >= 2 && input[position - 1] == 13 && input[position - 2] == 10 { return true }
            index = position + 1
        }
        return false
    }

    /// A complete head is at the beginning of `input`, and described by `head` and `requestTable`.
    private func takeRequest(_ front: Front, _ count: Int) {
        front.requests &+= 1
        if let peers = front.peers, let refusal = refusal(of: peers, input) {
            return refuse(front, front.exchange, refusal)
        }
        let request = makeRequest(front, input)
        let decision = routes.route(request)
        switch decision {
        case .forward(let upstream): forward(front, count, upstream)
        case .hold(let app): hold(front, count, app)
        case .respond(let ready, let app): respond(front, count, ready, app)
        case .misdirected(let app):
            guard let exchange = beginUnforwarded(front, count, app) else { return }
            fail(front, exchange, .misdirected)
        case .unknown:
            shared.unknownNames.add(1, ordering: .relaxed)
            let name = text(self.name, 0, nameCount)
            respond(
                front,
                count,
                ReadyAnswer.error(
                    status: 404,
                    code: "unknown_name",
                    message: "No app is served under the name \(name). Check the address, or deploy the app."
                ),
                nil
            )
        }
    }

    /// What the router and the observer see of the request in `head`.
    func makeRequest(_ front: Front, _ bytes: Bytes) -> RoutedRequest {
        nameCount = head.pointee.hostNameEnd - head.pointee.hostStart
        let source = bytes + head.pointee.hostStart
        var index = 0
        while index < nameCount {
            name[index] = lowercased(source[index])
            index &+= 1
        }
        if nameCount > 1 && name[nameCount - 1] == 0x2E { nameCount -= 1 }
        return RoutedRequest(
            bytes: bytes,
            head: UnsafePointer(head),
            table: requestTable,
            name: UnsafeBufferPointer(start: name, count: nameCount),
            front: front
        )
    }

    /// Answers without an upstream.
    ///
    /// The body that the request may have is dropped.
    func respond(
        _ front: Front,
        _ count: Int,
        _ ready: ReadyAnswer,
        _ app: App?,
        outcome: RequestSummary.Outcome? = nil
    ) {
        guard let exchange = beginUnforwarded(front, count, app) else { return }
        exchange.outcome = outcome
        answer(front, exchange, ready, keepsClient: true)
    }

    /// Takes a request that goes to no upstream; nil after it was refused.
    private func beginUnforwarded(_ front: Front, _ count: Int, _ app: App?) -> Exchange? {
        let exchange = begin(front, count, app.map(cell))
        // For the log.
        exchange.keep(input, head.pointee.length)
        guard var rest = takeBodyStart(front, exchange, count) else { return nil }
        rest = max(rest, head.pointee.length)
        front.input.set(input + rest, count - rest)
        return exchange
    }

    /// Takes what has arrived of the request's body: where that ends, or nil after the request was refused.
    private func takeBodyStart(_ front: Front, _ exchange: Exchange, _ count: Int) -> Int? {
        let start = head.pointee.length
        if let limit = settings.limits.bodyBytes, head.pointee.contentLength > limit {
            exchange.keep(input, start)
            refuse(front, exchange, .bodyTooLarge)
            return nil
        }
        let taken = exchange.machine.requestBody.take(input + start, count - start)
        if let refusal = exchange.machine.requestBody.refusal {
            exchange.keep(input, start)
            refuse(front, exchange, refusal)
            return nil
        }
        exchange.bytesIn = taken
        if exchange.machine.requestBody.isComplete { exchange.machine.requestSent() }
        return start + taken
    }

    /// Sends the request in `input` to an upstream.
    private func forward(_ front: Front, _ count: Int, _ upstream: Upstream) {
        let pool = pool(of: upstream)
        let exchange = begin(front, count, pool.cell)
        guard let end = takeBodyStart(front, exchange, count) else { return }
        exchange.keep(input, end)
        exchange.machine.isReplayable = true
        exchange.pool = pool
        front.input.set(input + end, count - end)
        let hops = peerHops(front, input)
        if let peers = upstream.peers, hops >= peers.maximumHops {
            return fail(front, exchange, .tooManyHops)
        }
        if isOverLimit(exchange, upstream.app) { return fail(front, exchange, .tooManyRequests) }
        guard let back = takeBack(pool, exchange, front) else { return }
        exchange.back = back
        back.exchange = exchange
        exchange.machine.isReusedUpstream = back.hasServed
        if !exchange.isCounted { start(exchange, upstream.app, front) }
        if !upstream.hiddenRequestFields.isEmpty { hide(upstream.hiddenRequestFields, input, requestTable) }
        var writer = ByteWriter(output)
        HeadWriter.writeRequest(
            head.pointee,
            input,
            requestTable,
            front: front,
            upstream: upstream,
            exchange: exchange,
            hops: hops,
            into: &writer
        )
        let start = head.pointee.length
        writer.put(input + start, end - start)
        if exchange.machine.request == .sent {
            setDeadline(front, after: upstream.answerMilliseconds ?? settings.answerTime)
        } else {
            exchange.windowBytes = 0
            setDeadline(front, after: settings.bodyTime)
        }
        if back.phase == .connecting { setDeadline(front, after: settings.connectTime) }
        send(back, output, writer.count)
        if back.isUnwritable { readBack(back) }
    }

    private func hide(_ names: [[UInt8]], _ bytes: Bytes, _ table: FieldTable) {
        for index in 0..<head.pointee.fieldCount {
            let line = table.lines[index]
            for name in names where name.count == Int(line.nameEnd - line.start) {
                name.withUnsafeBufferPointer {
                    if let base = $0.baseAddress, isSameWord(bytes + Int(line.start), base, name.count),
                        line.kind == .other
                    {
                        table.lines[index].isDropped = true
                    }
                }
            }
        }
    }

    /// Goes on with a request's body, or with a tunnel.
    private func continueRequest(_ front: Front) -> Bool {
        guard let exchange = front.exchange else { return false }
        if exchange.machine.answer == .tunnel { return pumpFromClient(front, exchange) }
        switch exchange.machine.request {
        case .sent: return false
        case .abandoned: return discard(front, exchange)
        case .sending: break
        }
        guard let back = exchange.back, back.phase == .busy, back.output.isEmpty else { return false }
        var count = front.input.move(to: input)
        if count == 0 {
            guard front.isReadable else { return false }
            switch receive(front, into: input, room: Self.scratchBytes) {
            case .bytes(let more): count = more
            case .nothing: return front.isReadable
            case .end, .broken:
                clientLeft(front)
                return false
            }
        }
        exchange.machine.isReplayable = false
        let taken = exchange.machine.requestBody.take(input, count)
        if let refusal = exchange.machine.requestBody.refusal {
            refuse(front, exchange, refusal)
            return false
        }
        exchange.bytesIn &+= taken
        exchange.windowBytes &+= taken
        if let limit = settings.limits.bodyBytes, exchange.bytesIn > limit {
            refuse(front, exchange, .bodyTooLarge)
            return false
        }
        if exchange.machine.requestBody.isComplete {
            exchange.machine.requestSent()
            if !exchange.hasBegun {
                setDeadline(front, after: exchange.pool?.upstream.answerMilliseconds ?? settings.answerTime)
            }
        } else if exchange.hasBegun {
            front.deadline = nowMilliseconds &+ settings.answerIdleTime
        }
        if taken < count { front.input.set(input + taken, count - taken) }
        send(back, input, taken)
        if back.isUnwritable {
            readBack(back)
            return front.phase == .exchanging && front.exchange === exchange
        }
        return back.output.isEmpty
    }

    /// Reads and drops what is left of a body, so that the connection can be used again.
    private func discard(_ front: Front, _ exchange: Exchange) -> Bool {
        var count = front.input.move(to: input)
        if count == 0 {
            guard front.isReadable else { return false }
            switch receive(front, into: input, room: Self.scratchBytes) {
            case .bytes(let more): count = more
            case .nothing: return front.isReadable
            case .end, .broken:
                if exchange.machine.answer == .complete {
                    endExchange(exchange)
                    closeFront(front)
                } else {
                    clientLeft(front)
                }
                return false
            }
        }
        let taken = exchange.machine.requestBody.take(input, count)
        exchange.discardedBytes += taken
        if taken < count { front.input.set(input + taken, count - taken) }
        let isTooMuch =
            exchange.machine.requestBody.refusal != nil
            || exchange.discardedBytes > settings.limits.discardedBodyBytes
        if isTooMuch { exchange.machine.doNotKeepClient() }
        guard exchange.machine.answer == .complete else {
            // The answer is still under way: take more only as long as it is little.
            return !isTooMuch && !exchange.machine.requestBody.isComplete
        }
        if isTooMuch || exchange.machine.requestBody.isComplete {
            let keeps = exchange.machine.clientEnd == .next
            endExchange(exchange)
            nextRequest(front, keeps: keeps, hasUnread: isTooMuch)
        }
        return front.phase != .closed
    }

    private func linger(_ front: Front) -> Bool {
        guard front.isReadable else { return false }
        switch receive(front, into: input, room: Self.scratchBytes) {
        case .bytes: return true
        case .nothing: return front.isReadable
        case .end, .broken:
            if front.output.isEmpty { closeFront(front) }
            return false
        }
    }
}
