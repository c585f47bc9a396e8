import Glibc
import NIOCore
import NIOPosix
import Proxy

/// Finds the connections of an event loop whose other end is gone without a word, as the reactor does for its own.
enum LinkMonitor {
    /// Calls `onLoss` once, on the channel's event loop, when the other end has owed an acknowledgement for `silence`.
    ///
    /// Call it on that event loop.
    static func watch(_ channel: any Channel, silence: Duration, onLoss: @escaping @Sendable () -> Void) {
        guard let provider = channel as? any SocketOptionProvider else { return }
        let limit = milliseconds(silence)
        let state = NIOLoopBoundBox(LinkWatch(), eventLoop: channel.eventLoop)
        let period = TimeAmount.milliseconds(Int64(min(max(limit / 8, 250), 5000)))
        let task = channel.eventLoop.scheduleRepeatedTask(initialDelay: period, delay: period) { task in
            provider.getTCPInfo().whenSuccess { info in
                let silent = state.value.silence(
                    now: NIODeadline.now().uptimeNanoseconds / 1_000_000,
                    isOwed: info.tcpi_unacked > 0 || info.tcpi_probes > 0,
                    sinceAcknowledgement: UInt64(info.tcpi_last_ack_recv)
                )
                guard silent >= limit else { return }
                task.cancel()
                onLoss()
            }
        }
        channel.closeFuture.whenComplete { _ in task.cancel() }
    }

    fileprivate static func milliseconds(_ time: Duration) -> UInt64 { max(time.wholeMilliseconds, 1000) }

    /// What lets the kernel ask whether the other end is there.
    fileprivate static func options(
        _ silence: Duration
    ) -> [(ChannelOptions.Types.SocketOption, ChannelOptions.Types.SocketOption.Value)] {
        let times = ProbeTimes(silence: milliseconds(silence))
        return [
            (.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPIDLE)), Int(times.idleSeconds)),
            (.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPINTVL)), Int(times.intervalSeconds)),
            (.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPCNT)), Int(times.count)),
            (.socketOption(.so_keepalive), 1),
        ]
    }
}

extension ClientBootstrap {
    /// Lets the kernel find within `silence` that the other end is gone, where nothing is sent.
    func probing(silence: Duration) -> ClientBootstrap {
        LinkMonitor.options(silence).reduce(self) { $0.channelOption($1.0, value: $1.1) }
    }
}

extension ServerBootstrap {
    /// The same for accepted connections.
    func probing(silence: Duration) -> ServerBootstrap {
        LinkMonitor.options(silence).reduce(self) { $0.childChannelOption($1.0, value: $1.1) }
    }
}
