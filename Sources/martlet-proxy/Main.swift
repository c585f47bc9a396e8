import Glibc
import Proxy
import Synchronization

/// The proxy as a program, for benchmarks and for trying it against other clients and servers.
@main
struct Main {
    static func main() {
        do {
            let options = try Options(CommandLine.arguments.dropFirst())
            try run(options)
        } catch {
            let text = "martlet-proxy: \(error)\n"
            write(2, text, text.utf8.count)
            exit(2)
        }
    }

    private static func run(_ options: Options) throws {
        // The signals are waited for by this thread alone: those that the proxy starts inherit the mask.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        let proxy = try ProxyServer(options.configuration, router: options.router)
        try proxy.start()
        for address in proxy.addresses { print("listening on \(address)") }
        fflush(nil)
        var signal: Int32 = 0
        sigwait(&signals, &signal)
        let done = Flag()
        // The program is not async otherwise: this thread waits for the one task that ends it.
        Task {
            await proxy.drain(deadline: .seconds(10))
            done.set()
        }
        while !done.isSet { usleep(10_000) }
        print(summary(proxy.metrics))
    }

    private static func summary(_ metrics: ProxyMetrics) -> String {
        let apps = metrics.apps.map {
            "\($0.name): \($0.requests) requests, p50 \($0.latency.quantile(0.5)) us, p99 \($0.latency.quantile(0.99)) us"
        }
        return
            ([
                "accepted \(metrics.acceptedConnections) connections, refused \(metrics.refusedRequests) requests"
            ] + apps)
            .joined(separator: "\n")
    }
}

private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}
