import CProxy
import Glibc

// Connections whose other end is gone without a word. Where nothing is sent, the kernel's probes find it; where bytes are
// under way they do not, and the loop looks, every second, at what is not acknowledged.
extension Loop {
    private static let linkPeriod: UInt64 = 1000

    /// Looks at links from now on, for as long as something happens on one.
    @inline(__always)
    func watchLinks() {
        if linksDue == .max { linksDue = nowMilliseconds &+ Self.linkPeriod }
    }

    func begin(watching back: Back) {
        probe(back.descriptor, silence: settings.upstreamSilence)
        watchLinks()
    }

    func lookAtLinks() {
        linksDue = .max
        for back in backs {
            guard let back, back.pool.isTCP, back.phase == .busy || back.phase == .connecting else {
                continue
            }
            linksDue = nowMilliseconds + Self.linkPeriod
            guard back.phase == .busy, isSilent(back.descriptor, &back.link, settings.upstreamSilence),
                let exchange = back.exchange, let front = exchange.front
            else { continue }
            // Kept connections to it are on the same link: the next request makes a new one, and soon knows.
            closeIdle(back.pool.upstream)
            lose(exchange, front)
        }
        if nowMilliseconds >= clientLinksDue {
            lookAtClients()
        } else {
            linksDue = min(linksDue, clientLinksDue)
        }
    }

    /// Clients that an answer, or a tunnel, is under way to; more rarely, because they are many.
    private func lookAtClients() {
        clientLinksDue = nowMilliseconds + max(settings.clientSilence / 8, Self.linkPeriod / 4)
        for front in fronts {
            guard let front, front.isTCP, front.phase == .exchanging, let exchange = front.exchange,
                exchange.hasBegun
            else { continue }
            linksDue = min(linksDue, clientLinksDue)
            if isSilent(front.descriptor, &exchange.link, settings.clientSilence) { clientLeft(front) }
        }
    }

    private func isSilent(_ descriptor: Int32, _ link: inout LinkWatch, _ limit: UInt64) -> Bool {
        var milliseconds: UInt32 = 0
        let isOwed = cproxy_owes_acknowledgement(descriptor, &milliseconds) == 1
        return link.silence(now: nowMilliseconds, isOwed: isOwed, sinceAcknowledgement: UInt64(milliseconds))
            >= limit
    }

    /// Ends what waits for an upstream that will not answer any more.
    func lose(_ exchange: Exchange, _ front: Front) {
        if exchange.machine.answer == .tunnel {
            exchange.cell?.add(.lost)
            tunnelOver(exchange, .upstreamFailed(.lost))
        } else {
            fail(front, exchange, .lost)
        }
    }
}

/// Whether an error of a connection says that the other end is not reached any more.
func meansLoss(_ error: Int) -> Bool {
    [ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENETDOWN].contains(Int32(truncatingIfNeeded: error))
}

/// Lets the kernel find within `silence` milliseconds that the other end of a TCP connection is gone, where nothing is sent.
func probe(_ descriptor: Int32, silence: UInt64) {
    let times = ProbeTimes(silence: silence)
    cproxy_probe(descriptor, times.idleSeconds, times.intervalSeconds, times.count)
}

/// When the kernel asks whether the other end of a silent TCP connection is there.
package struct ProbeTimes: Equatable {
    package let idleSeconds: Int32
    package let intervalSeconds: Int32
    package let count: Int32

    /// Half of the time, and then three probes; whole seconds, because the kernel counts in these.
    package init(silence milliseconds: UInt64) {
        let seconds = Int32(clamping: min(milliseconds / 1000, 32_000))
        idleSeconds = max(seconds / 2, 1)
        intervalSeconds = max((seconds - idleSeconds) / 3, 1)
        count = 3
    }
}
