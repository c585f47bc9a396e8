import CProxy
import Glibc

// From the upstream: heads, bodies, and what a tunnel brings.
extension Loop {
    /// Goes on with an upstream's connection until the kernel has nothing more or the client takes no more.
    func readBack(_ back: Back) {
        while back.phase == .busy, let exchange = back.exchange, let front = exchange.front {
            guard front.output.isEmpty, !exchange.isGated else { return }
            let hasPassed = exchange.passedBytes > 0
            guard back.isReadable || hasPassed else { return }
            var count = back.input.move(to: input)
            if !hasPassed {
                let room =
                    (exchange.machine.answer == .awaiting ? Self.scratchBytes - 64 : Self.scratchBytes)
                    - count
                let got = cproxy_recv(back.descriptor, input + count, room)
                if got > 0 {
                    if got < room && !back.hasEnded { back.isReadable = false }
                    count &+= got
                    exchange.machine.answerBytesArrived()
                } else if got == -Int(EAGAIN) && !back.isUnwritable {
                    back.isReadable = false
                    back.input.set(input, count)
                    return
                } else if got == -Int(EINTR) {
                    back.input.set(input, count)
                    continue
                } else {
                    back.isReadable = false
                    if got < 0 && meansLoss(-got) { back.isLost = true }
                    return upstreamEnded(back, exchange, front)
                }
            }
            exchange.passedBytes = 0
            switch exchange.machine.answer {
            case .awaiting: takeAnswer(back, exchange, front, count, hasPassed: hasPassed)
            case .streaming: takeBody(back, exchange, front, count, hasPassed: hasPassed)
            case .tunnel: pumpFromUpstream(back, exchange, front, count, hasPassed: hasPassed)
            case .complete: return
            }
        }
    }

    /// An answer's head is at the beginning of `input`, or a part of it.
    private func takeAnswer(_ back: Back, _ exchange: Exchange, _ front: Front, _ total: Int, hasPassed: Bool)
    {
        var start = 0
        while true {
            let bytes = UnsafePointer(input + start)
            let count = total - start
            var answer = AnswerHead()
            let maximum = settings.answerHeadBytes
            let result = answer.scan(bytes, count, table: answerTable, maximumBytes: maximum)
            switch result {
            case .incomplete:
                back.input.set(bytes, count)
                return
            case .refused:
                return fail(front, exchange, .malformedAnswer)
            case .complete: break
            }
            if let peers = back.pool.upstream.peers {
                let failure = takePeerLines(peers, back.pool.upstream, answer, bytes)
                if let failure { return fail(front, exchange, failure) }
            } else if front.peers != nil {
                dropPeerLines(answer, bytes)
            }
            if answer.status >= 200, !hasPassed, let gate = back.pool.upstream.gate,
                !passes(gate, exchange, front, stage: .head, status: answer.status, bytes, answer.fieldCount)
            {
                back.input.set(bytes, count)
                return
            }
            if isDraining || front.requests >= settings.limits.requestsPerConnection {
                exchange.machine.doNotKeepClient()
            }
            switch exchange.machine.answerHead(answer) {
            case .fail(let failure): return fail(front, exchange, failure)
            case .inform(let isForwarded):
                exchange.interimAnswers += 1
                guard exchange.interimAnswers <= settings.limits.interimAnswers else {
                    return fail(front, exchange, .malformedAnswer)
                }
                if isForwarded {
                    var writer = ByteWriter(output)
                    HeadWriter.writeAnswer(
                        answer,
                        bytes,
                        answerTable,
                        connection: .keep,
                        peerGeneration: 0,
                        into: &writer
                    )
                    guard send(front, output, writer.count) else { return clientLeft(front) }
                }
                start += answer.length
                if start == total { return }
            case .tunnel: return beginTunnel(back, exchange, front, answer, bytes, count)
            case .answer: return beginAnswer(back, exchange, front, answer, bytes, count)
            }
        }
    }

    /// Sends an answer's head, together with what has arrived of its body.
    @inline(__always)
    private func beginAnswer(
        _ back: Back,
        _ exchange: Exchange,
        _ front: Front,
        _ answer: AnswerHead,
        _ bytes: Bytes,
        _ count: Int
    ) {
        exchange.status = answer.status
        exchange.hasBegun = true
        let bodyStart = answer.length
        let available = count &- bodyStart
        let connection: HeadWriter.AnswerConnection =
            exchange.machine.keepsClient ? (exchange.machine.tellsKeepAlive ? .tellKeep : .keep) : .close
        let hidden = back.pool.upstream.hiddenAnswerFields
        if !hidden.isEmpty { hide(hidden, bytes, answerTable, answer.fieldCount) }
        if exchange.machine.decodesChunks { dropCoding(answer.fieldCount) }
        let isAlive: Bool
        let taken: Int
        let generation = generationToTell(front, exchange)
        if connection == .keep && generation == 0 && HeadWriter.isUnchanged(answer, answerTable) {
            taken = exchange.machine.answerBody.take(bytes + bodyStart, available)
            isAlive = send(front, bytes, bodyStart &+ taken)
        } else {
            var writer = ByteWriter(output)
            HeadWriter.writeAnswer(
                answer,
                bytes,
                answerTable,
                connection: connection,
                peerGeneration: generation,
                into: &writer
            )
            if exchange.machine.decodesChunks {
                var produced = 0
                taken = exchange.machine.answerBody.decode(
                    bytes + bodyStart,
                    available,
                    into: writer.position,
                    &produced
                )
                isAlive = send(front, output, writer.count + produced)
            } else {
                taken = exchange.machine.answerBody.take(bytes + bodyStart, available)
                isAlive = send(front, output, writer.count, bytes + bodyStart, taken)
            }
        }
        exchange.bytesOut = taken
        guard isAlive else { return clientLeft(front) }
        afterBody(back, exchange, front, leftover: available &- taken)
    }

    private func takeBody(_ back: Back, _ exchange: Exchange, _ front: Front, _ count: Int, hasPassed: Bool) {
        if !hasPassed, let gate = back.pool.upstream.gate,
            !passes(gate, exchange, front, stage: .body, status: exchange.status, input, 0)
        {
            back.input.set(input, count)
            return
        }
        let isAlive: Bool
        let taken: Int
        if exchange.machine.decodesChunks {
            var produced = 0
            taken = exchange.machine.answerBody.decode(input, count, into: output, &produced)
            isAlive = send(front, output, produced)
        } else {
            taken = exchange.machine.answerBody.take(input, count)
            isAlive = send(front, input, taken)
        }
        exchange.bytesOut &+= taken
        guard isAlive else { return clientLeft(front) }
        afterBody(back, exchange, front, leftover: count &- taken)
    }

    @inline(__always)
    private func afterBody(_ back: Back, _ exchange: Exchange, _ front: Front, leftover: Int) {
        exchange.machine.answerBodyMoved()
        if exchange.machine.answer == .complete {
            return answerComplete(exchange, front, keepsBack: leftover == 0 && !back.hasEnded)
        }
        if leftover > 0 { return cut(exchange, front, .malformedAnswer) }
        if front.isTCP { watchLinks() }
        front.deadline = min(
            nowMilliseconds &+ (front.output.isEmpty ? settings.answerIdleTime : settings.sendTime),
            exchange.halfClosedUntil
        )
        if !front.output.isEmpty || exchange.halfClosedUntil != .max {
            wheel.schedule(front.descriptor, at: front.deadline / Self.tickMilliseconds &+ 1)
        }
    }

    /// The whole answer is with the client, or on its way.
    func answerComplete(_ exchange: Exchange, _ front: Front, keepsBack: Bool) {
        if let back = exchange.back {
            exchange.back = nil
            if keepsBack && exchange.machine.reusesUpstream { keep(back) } else { closeBack(back) }
        }
        settle(exchange, .completed)
        let end = exchange.machine.clientEnd
        if end == .discardRest {
            exchange.machine.abandonRequest()
            setDeadline(front, after: settings.bodyTime)
            return enqueue(front)
        }
        let hasUnread = !exchange.machine.requestBody.isComplete
        endExchange(exchange)
        nextRequest(front, keeps: end == .next, hasUnread: hasUnread)
    }

    private func upstreamEnded(_ back: Back, _ exchange: Exchange, _ front: Front) {
        if back.isLost { return lose(exchange, front) }
        switch exchange.machine.upstreamEnded() {
        case .replay: replay(back, exchange, front)
        case .fail(let failure): fail(front, exchange, failure)
        case .complete: answerComplete(exchange, front, keepsBack: false)
        case .cut: cut(exchange, front, .closedInAnswer)
        case .endTunnel: upstreamEndedTunnel(back, exchange, front)
        }
    }

    /// The upstream closed a kept connection just as the request went out: the request is taken anew, once, on a new
    /// connection; the router is asked again, because the app may have moved.
    private func replay(_ back: Back, _ exchange: Exchange, _ front: Front) {
        exchange.pool?.cell.add(.retried)
        exchange.back = nil
        closeBack(back)
        // Its kept connections are as old: one of them would be the next to fail.
        if let upstream = exchange.pool?.upstream { closeIdle(upstream) }
        takeAgain(exchange, front)
        enqueue(front)
    }

    /// Puts a request's bytes back, as if they had just come.
    func takeAgain(_ exchange: Exchange, _ front: Front) {
        var bytes = Stash()
        bytes.append(exchange.raw, exchange.rawCount)
        front.input.consume { rest, count in
            bytes.append(rest, count)
            return count
        }
        front.input = bytes
        front.needsMore = false
        front.phase = .head
        exchange.attempts += 1
    }

    private func hide(_ names: [[UInt8]], _ bytes: Bytes, _ table: FieldTable, _ count: Int) {
        for index in 0..<count {
            let line = table.lines[index]
            for name in names where name.count == Int(line.nameEnd - line.start) && line.kind == .other {
                name.withUnsafeBufferPointer {
                    if let base = $0.baseAddress, isSameWord(bytes + Int(line.start), base, name.count) {
                        table.lines[index].isDropped = true
                    }
                }
            }
        }
    }

    private func dropCoding(_ count: Int) {
        for index in 0..<count where answerTable.lines[index].kind == .transferEncoding {
            answerTable.lines[index].isDropped = true
        }
    }

    /// Asks the gate; false when the answer has to wait.
    func passes(
        _ gate: any AnswerGate,
        _ exchange: Exchange,
        _ front: Front,
        stage: GatedAnswer.Stage,
        status: Int,
        _ bytes: Bytes,
        _ fieldCount: Int
    ) -> Bool {
        guard let app = exchange.cell?.app else { return true }
        let answer = GatedAnswer(
            app: app,
            stage: stage,
            status: status,
            isSafeMethod: exchange.isSafeMethod,
            bytes: bytes,
            table: answerTable,
            fieldCount: fieldCount,
            mailbox: mailbox,
            key: front.key,
            serial: exchange.serial
        )
        switch gate.check(answer) {
        case .pass: return true
        case .hold:
            exchange.isGated = true
            setDeadline(front, after: exchange.pool?.upstream.answerMilliseconds ?? settings.answerTime)
            return false
        }
    }

    func release(_ key: ConnectionKey, _ serial: UInt64, _ release: GateRelease) {
        guard Int(key.descriptor) < fronts.count, let front = fronts[Int(key.descriptor)],
            front.generation == key.generation, let exchange = front.exchange, exchange.serial == serial,
            exchange.isGated, let back = exchange.back
        else { return }
        exchange.isGated = false
        switch release {
        case .pass:
            exchange.passedBytes = back.input.count
            if exchange.machine.answer == .tunnel { setDeadline(front, after: settings.tunnelIdleTime) }
            readBack(back)
        case .replace(let ready):
            if exchange.hasBegun { return cut(exchange, front, nil) }
            exchange.back = nil
            closeBack(back)
            exchange.outcome = .withheld
            answer(front, exchange, ready, keepsClient: true)
        }
    }
}
