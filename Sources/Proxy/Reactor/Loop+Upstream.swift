import CProxy
import Glibc

// Connections to upstreams: taken from the pool or made, written to, kept or closed.
extension Loop {
    @inline(__always)
    func pool(of upstream: Upstream) -> UpstreamPool {
        let index = upstream.index
        if index < pools.count, let pool = pools[index], pool.upstream === upstream { return pool }
        return makePool(upstream)
    }

    private func makePool(_ upstream: Upstream) -> UpstreamPool {
        let index = upstream.index
        while index >= pools.count {
            pools.append(contentsOf: repeatElement(nil, count: max(16, pools.count)))
        }
        let pool = UpstreamPool(upstream: upstream, cell: cell(upstream.app))
        pools[index] = pool
        return pool
    }

    @inline(__always)
    func cell(_ app: App) -> AppCell {
        let index = app.index
        if index < cells.count, let cell = cells[index], cell.app === app { return cell }
        while index >= cells.count {
            cells.append(contentsOf: repeatElement(nil, count: max(16, cells.count)))
        }
        let cell = shared.makeCell(app)
        cells[index] = cell
        return cell
    }

    /// A connection for a request, whose bytes `exchange` keeps; nil when there is none, and the request has been
    /// answered or waits.
    func takeBack(_ pool: UpstreamPool, _ exchange: Exchange, _ front: Front) -> Back? {
        let mayReplay = exchange.machine.isIdempotent && exchange.machine.request == .sent
        while let back = pool.idle.popLast() {
            // A request that cannot be sent twice only goes out where the upstream has not closed already.
            if !mayReplay && cproxy_is_quiet(back.descriptor) == 0 {
                back.phase = .busy
                pool.busyCount += 1
                closeBack(back)
                continue
            }
            back.phase = .busy
            pool.busyCount += 1
            if pool.isTCP { watchLinks() }
            return back
        }
        var pending: Int32 = 0
        let descriptor = connect(to: pool.upstream, &pending)
        guard descriptor >= 0 else {
            connectFailed(-descriptor, exchange, front)
            return nil
        }
        let back = Back(
            descriptor: descriptor,
            generation: makeGeneration(),
            pool: pool,
            phase: pending == 0 ? .busy : .connecting
        )
        let index = Int(descriptor)
        while index >= backs.count {
            backs.append(contentsOf: repeatElement(nil, count: max(256, backs.count)))
        }
        backs[index] = back
        pool.busyCount += 1
        pool.cell.add(.upstreamConnectionsOpened)
        if pool.isTCP { begin(watching: back) }
        _ = cproxy_epoll_add_edge(epoll, descriptor, eventData(back), back.watchesOutput ? 1 : 0)
        return back
    }

    /// The descriptor, or a negative error number.
    private func connect(to upstream: Upstream, _ pending: inout Int32) -> Int32 {
        if let connector = upstream.peers?.connector {
            // Fails only for want of descriptors.
            guard let pair = try? makeProxyPair() else { return -EMFILE }
            connector.connect(pair.own, to: upstream.address)
            return pair.proxy
        }
        switch upstream.address {
        case .unix(let path): return cproxy_connect_unix(path, &pending)
        case .tcp(let host, let port):
            return cproxy_connect_tcp(host, cproxy_address_family(host) == 1 ? 1 : 0, port, &pending)
        }
    }

    private func connectFailed(_ error: Int32, _ exchange: Exchange, _ front: Front) {
        // A full backlog is no refusal: the upstream is there, and busy. The request goes out as soon as it fits.
        let since = exchange.backloggedSince == 0 ? nowMilliseconds : exchange.backloggedSince
        if error == EAGAIN && nowMilliseconds - since < settings.connectTime {
            return waitForBacklog(front, exchange)
        }
        fail(front, exchange, error == EAGAIN || error == EMFILE || error == ENFILE ? .overloaded : .refused)
    }

    /// Writes to an upstream what it takes, and keeps the rest.
    @inline(__always)
    func send(_ back: Back, _ bytes: Bytes, _ count: Int) {
        guard count > 0, !back.isUnwritable else { return }
        if back.phase == .connecting || !back.output.isEmpty { return back.output.append(bytes, count) }
        let sent = cproxy_send(back.descriptor, bytes, count)
        if sent == count { return }
        guard sent >= 0 || sent == -Int(EAGAIN) else {
            back.isLost = back.isLost || meansLoss(-sent)
            return sendFailed(back)
        }
        let done = max(sent, 0)
        back.output.append(bytes + done, count - done)
        watchOutput(back)
    }

    private func eventData(_ back: Back) -> UInt64 {
        Tag.back.rawValue << 62 | UInt64(back.generation) << 32 | UInt64(back.descriptor)
    }

    /// Asks to be told of room to write; the kernel tells at once if there is some already.
    private func watchOutput(_ back: Back) {
        guard !back.watchesOutput else { return }
        back.watchesOutput = true
        _ = cproxy_epoll_change_edge(epoll, back.descriptor, eventData(back), 1)
    }

    private func unwatchOutput(_ back: Back) {
        guard back.watchesOutput else { return }
        back.watchesOutput = false
        _ = cproxy_epoll_change_edge(epoll, back.descriptor, eventData(back), 0)
    }

    /// The upstream takes no more.
    ///
    /// What it has said before is still to be read, so nothing is closed here.
    private func sendFailed(_ back: Back) {
        back.isUnwritable = true
        back.isReadable = true
        back.hasEnded = true
        back.output.clear()
        back.exchange?.machine.abandonRequest()
    }

    private func flush(_ back: Back) {
        back.output.consume { bytes, count in
            let sent = cproxy_send(back.descriptor, bytes, count)
            if sent >= 0 { return sent }
            if sent != -Int(EAGAIN) {
                back.isUnwritable = true
                back.isLost = back.isLost || meansLoss(-sent)
            }
            return 0
        }
        if back.isUnwritable { sendFailed(back) }
    }

    func backEvent(_ back: Back, _ events: UInt32) {
        if back.phase == .idle {
            // Whatever it says, nobody has asked: closed, or out of step.
            return closeBack(back)
        }
        if back.phase == .connecting {
            guard events & (Events.writable | Events.broken) != 0 else { return }
            guard connected(back) else { return }
        }
        if events & Events.writable != 0 && !back.output.isEmpty {
            flush(back)
            if back.output.isEmpty { unwatchOutput(back) }
            if back.output.isEmpty, let exchange = back.exchange, let front = exchange.front {
                if exchange.machine.answer == .tunnel {
                    if front.output.isEmpty { setDeadline(front, after: settings.tunnelIdleTime) }
                    passOnEnd(exchange)
                }
                readFront(front)
                if back.phase == .closed { return }
            }
        }
        guard events & Events.incoming != 0 || back.isUnwritable else { return }
        back.isReadable = true
        if events & (Events.ended | Events.broken) != 0 { back.hasEnded = true }
        readBack(back)
    }

    private func connected(_ back: Back) -> Bool {
        let error = cproxy_socket_error(back.descriptor)
        guard error == 0 else {
            let exchange = back.exchange
            closeBack(back)
            if let exchange, let front = exchange.front {
                exchange.back = nil
                fail(front, exchange, .refused)
            }
            return false
        }
        back.phase = .busy
        if let exchange = back.exchange, let front = exchange.front {
            if exchange.machine.request == .sent {
                setDeadline(front, after: back.pool.upstream.answerMilliseconds ?? settings.answerTime)
            } else {
                setDeadline(front, after: settings.bodyTime)
            }
        }
        return true
    }

    /// Puts a connection back for the next request, or closes it when there are enough.
    @inline(__always)
    func keep(_ back: Back) {
        back.exchange = nil
        back.hasServed = true
        if back.watchesOutput { unwatchOutput(back) }
        let pool = back.pool
        guard pool.idle.count < settings.limits.idleUpstreamConnections, !isDraining else {
            return closeBack(back)
        }
        back.phase = .idle
        pool.busyCount &-= 1
        pool.add(back)
        back.deadline = nowMilliseconds &+ settings.upstreamIdleTime
        wheel.schedule(back.descriptor, at: back.deadline / Self.tickMilliseconds &+ 1)
    }

    func closeBack(_ back: Back) {
        guard back.phase != .closed else { return }
        let pool = back.pool
        if back.phase == .idle { pool.remove(back) } else { pool.busyCount -= 1 }
        back.phase = .closed
        back.exchange = nil
        let index = Int(back.descriptor)
        if backs[index] === back { backs[index] = nil }
        wheel.cancel(back.descriptor)
        cproxy_close(back.descriptor)
        back.input.clear()
        back.output.clear()
        pool.cell.add(.upstreamConnectionsClosed)
        // Nothing refers to an upstream that has no connections, so that one that is gone does not stay for ever.
        let slot = pool.upstream.index
        if pool.idle.isEmpty && pool.busyCount == 0, slot < pools.count, pools[slot] === pool {
            pools[slot] = nil
        }
    }

    /// Ends everything that waits for an upstream that will not answer any more.
    func giveUp(_ upstream: Upstream) {
        closeIdle(upstream)
        for front in fronts {
            guard let front, let exchange = front.exchange, let back = exchange.back,
                back.pool.upstream === upstream
            else { continue }
            if back.phase == .connecting { fail(front, exchange, .refused) } else { lose(exchange, front) }
        }
    }

    func closeIdle(_ upstream: Upstream) {
        guard upstream.index < pools.count, let pool = pools[upstream.index], pool.upstream === upstream
        else { return }
        while let back = pool.idle.last { closeBack(back) }
    }
}
