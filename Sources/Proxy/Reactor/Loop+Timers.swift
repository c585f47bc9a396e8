// What happens when nothing happens.
extension Loop {
    func frontTimedOut(_ front: Front) {
        switch front.phase {
        case .closed: return
        case .preamble, .lingering: closeFront(front)
        case .head:
            guard front.needsMore && front.output.isEmpty else { return closeFront(front) }
            refuse(front, nil, .headTimeout)
        case .parked:
            if front.hasEnded { return closeParked(front) }
            if let app = front.waitsFor { return refuseHeld(front, app, .heldTooLong) }
            closeParked(front)
        case .exchanging:
            guard let exchange = front.exchange else { return closeFront(front) }
            exchangeTimedOut(front, exchange)
        }
    }

    private func closeParked(_ front: Front) {
        if let exchange = front.exchange { abandon(exchange, .clientLeft) }
        closeFront(front)
    }

    private func exchangeTimedOut(_ front: Front, _ exchange: Exchange) {
        let machine = exchange.machine
        if machine.answer == .tunnel {
            return tunnelOver(
                exchange,
                exchange.upstreamEnded || exchange.clientEnded ? .completed : .clientTooSlow
            )
        }
        if exchange.halfClosedUntil <= nowMilliseconds { return clientLeft(front) }
        if machine.answer == .complete {
            // The rest of the body, which nobody wants, does not come.
            endExchange(exchange)
            return closeFront(front)
        }
        if !front.output.isEmpty {
            abandon(exchange, .clientTooSlow)
            return closeFront(front)
        }
        if exchange.hasBegun { return fail(front, exchange, .answerTimeout) }
        if let back = exchange.back, back.phase == .connecting {
            return fail(front, exchange, .connectTimeout)
        }
        let waitsForClient = machine.request == .sending && exchange.back?.output.isEmpty == true
        guard waitsForClient else { return fail(front, exchange, .answerTimeout) }
        if exchange.windowBytes > 0 && exchange.windowBytes >= settings.bodyBytesPerWindow {
            exchange.windowBytes = 0
            return setDeadline(front, after: settings.bodyTime)
        }
        refuse(front, exchange, .bodyTimeout)
    }
}
