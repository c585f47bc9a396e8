import CProxy
import Glibc
import Synchronization

// After 101: bytes in both directions, as they come (RFC 9110 7.8).
extension Loop {
    func beginTunnel(
        _ back: Back,
        _ exchange: Exchange,
        _ front: Front,
        _ answer: AnswerHead,
        _ bytes: Bytes,
        _ count: Int
    ) {
        guard let app = exchange.cell?.app else { return }
        exchange.status = 101
        exchange.hasBegun = true
        exchange.isTunnel = true
        // In this order, so that whoever reads both never sees the request in neither.
        app.tunnels.add(1, ordering: .acquiringAndReleasing)
        app.running.subtract(1, ordering: .acquiringAndReleasing)
        exchange.cell?.add(.upgraded)
        var writer = ByteWriter(output)
        HeadWriter.writeAnswer(
            answer,
            bytes,
            answerTable,
            connection: .upgrade,
            peerGeneration: generationToTell(front, exchange),
            into: &writer
        )
        let rest = count - answer.length
        writer.put(bytes + answer.length, rest)
        exchange.bytesOut = rest
        exchange.halfClosedUntil = .max
        setDeadline(front, after: settings.tunnelIdleTime)
        if front.isTCP { watchLinks() }
        guard send(front, output, writer.count) else { return clientLeft(front) }
        enqueue(front)
    }

    func pumpFromClient(_ front: Front, _ exchange: Exchange) -> Bool {
        guard let back = exchange.back, back.output.isEmpty, !exchange.clientEnded else { return false }
        var count = front.input.move(to: input)
        if count == 0 {
            guard front.isReadable else { return false }
            switch receive(front, into: input, room: Self.scratchBytes) {
            case .bytes(let more): count = more
            case .nothing: return front.isReadable
            case .end:
                exchange.clientEnded = true
                passOnEnd(exchange)
                return false
            case .broken:
                clientLeft(front)
                return false
            }
        }
        exchange.bytesIn &+= count
        front.deadline = nowMilliseconds &+ settings.tunnelIdleTime
        send(back, input, count)
        if back.isUnwritable {
            readBack(back)
            return false
        }
        if !back.output.isEmpty { setDeadline(front, after: settings.sendTime) }
        return back.output.isEmpty
    }

    func pumpFromUpstream(_ back: Back, _ exchange: Exchange, _ front: Front, _ count: Int, hasPassed: Bool) {
        if !hasPassed, let gate = back.pool.upstream.gate,
            !passes(gate, exchange, front, stage: .tunnel, status: 101, input, 0)
        {
            back.input.set(input, count)
            return
        }
        exchange.bytesOut &+= count
        front.deadline = nowMilliseconds &+ settings.tunnelIdleTime
        guard send(front, input, count) else { return clientLeft(front) }
        if !front.output.isEmpty { setDeadline(front, after: settings.sendTime) }
    }

    /// The client's end is passed on once everything before it has been.
    func passOnEnd(_ exchange: Exchange) {
        guard exchange.clientEnded, let back = exchange.back, back.output.isEmpty else { return }
        if exchange.upstreamEnded {
            tunnelOver(exchange, .completed)
        } else {
            _ = cproxy_shutdown_write(back.descriptor)
        }
    }

    func upstreamEndedTunnel(_ back: Back, _ exchange: Exchange, _ front: Front) {
        exchange.upstreamEnded = true
        back.isReadable = false
        if exchange.clientEnded || back.isUnwritable { return tunnelOver(exchange, .completed) }
        guard front.output.isEmpty else { return }
        endTowardsClient(exchange, front)
    }

    /// Everything that the upstream sent is with the client.
    func tunnelFlushed(_ exchange: Exchange, _ front: Front) {
        if exchange.upstreamEnded { return endTowardsClient(exchange, front) }
        if let back = exchange.back { readBack(back) }
    }

    private func endTowardsClient(_ exchange: Exchange, _ front: Front) {
        _ = cproxy_shutdown_write(front.descriptor)
        // A client that does not end its side in turn does not keep the tunnel open for ever.
        setDeadline(front, after: settings.halfClosedTime)
        readFront(front)
    }

    func tunnelOver(_ exchange: Exchange, _ outcome: RequestSummary.Outcome) {
        guard let front = exchange.front else { return }
        abandon(exchange, outcome)
        closeFront(front)
    }

    /// Ends an app's tunnels, for example because it moves.
    func endTunnels(_ app: App) {
        for front in fronts {
            guard let front, let exchange = front.exchange, exchange.isTunnel, exchange.cell?.app === app
            else { continue }
            tunnelOver(exchange, .stopped)
        }
    }
}
