import Glibc
import Proxy
import Synchronization
import Testing

/// Ends of TCP connections that are gone without a word: a filter at a socket drops whatever arrives, so that the kernel
/// acknowledges nothing, as when the link is cut.
@Suite("Links that are cut")
struct LinkTests {
    private static let get = "GET /p HTTP/1.1\r\nHost: a\r\n\r\n"
    private static let post = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"

    @Test func `an acknowledgement is missed from when it was first owed, or from the last one`() {
        var watch = LinkWatch()
        // What was acknowledged an hour ago was for something else.
        #expect(watch.silence(now: 5000, isOwed: true, sinceAcknowledgement: 3_600_000) == 0)
        #expect(watch.silence(now: 6000, isOwed: true, sinceAcknowledgement: 3_601_000) == 1000)
        // A long body: something is always owed, and acknowledged all the time.
        #expect(watch.silence(now: 7000, isOwed: true, sinceAcknowledgement: 40) == 40)
        #expect(watch.silence(now: 9000, isOwed: true, sinceAcknowledgement: 2040) == 2040)
        #expect(watch.silence(now: 10_000, isOwed: false, sinceAcknowledgement: 10) == 0)
        #expect(watch.silence(now: 20_000, isOwed: true, sinceAcknowledgement: 10_010) == 0)
        #expect(watch.silence(now: 21_000, isOwed: true, sinceAcknowledgement: 11_010) == 1000)
    }

    @Test(arguments: [(500, 1, 1), (1000, 1, 1), (10_000, 5, 1), (60_000, 30, 10), (.max, 16_000, 5333)])
    func `probes take no longer than the silence that is allowed, where that is seconds`(
        milliseconds: UInt64,
        idle: Int32,
        interval: Int32
    ) {
        let times = ProbeTimes(silence: milliseconds)
        #expect(times.idleSeconds == idle)
        #expect(times.intervalSeconds == interval)
        #expect(milliseconds < 4000 || Int(idle + 3 * interval) <= Int(clamping: milliseconds / 1000))
    }

    @Test func `a request on a link that is cut is lost, and goes elsewhere where that is safe`() async throws
    {
        let app = App(name: "app")
        let far = try FarUpstream()
        defer { far.stop() }
        let router = ElsewhereRouter(Upstream(app: app, address: .tcp(host: "127.0.0.1", port: far.port)))
        try await Self.withProxy(router) { fixture in
            let near = try TestUpstream.answering(fixture.socketPath) { _, _ in ok("near") }
            defer { near.stop() }
            router.elsewhere(Upstream(app: app, address: .unix(path: fixture.socketPath)))
            let client = try fixture.connect()
            client.send(Self.post)
            #expect(client.readAnswer()?.body == "far")
            far.cut()
            client.send(Self.post)
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 502)
            #expect(answer.body.contains("upstream_lost"), "whether it was done is not known")
            #expect(router.failures == [.lost])
            // On a new connection, which is cut once the request is with the app.
            far.holdsAnswers.set()
            client.send(Self.get)
            #expect(await fixture.wait { far.received == 2 })
            far.cut()
            #expect(client.readAnswer()?.body == "near", "probes find it while nothing is sent")
            #expect(router.failures == [.lost, .lost])
            #expect(await fixture.wait { app.activity.isIdle })
        }
    }

    @Test func `a cut link makes no new connections, and is not waited for long`() async throws {
        let app = App(name: "app")
        let far = try FarUpstream()
        defer { far.stop() }
        let router = ElsewhereRouter(Upstream(app: app, address: .tcp(host: "127.0.0.1", port: far.port)))
        try await Self.withProxy(router, configure: { $0.timeouts.connect = .seconds(1) }) { fixture in
            far.cutForAll()
            let client = try fixture.connect()
            client.send(Self.post)
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 504)
            #expect(answer.body.contains("upstream_connect_timeout"))
            #expect(router.failures == [.connectTimeout])
        }
    }

    @Test func `an answer and a tunnel on a link that is cut end`() async throws {
        let app = App(name: "app")
        let far = try FarUpstream()
        defer { far.stop() }
        let router = ElsewhereRouter(Upstream(app: app, address: .tcp(host: "127.0.0.1", port: far.port)))
        try await Self.withProxy(router) { fixture in
            let begun = try fixture.connect()
            begun.send("GET /begun HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(begun.readHead()?.hasPrefix("HTTP/1.1 200 ") == true)
            let tunnel = try fixture.connect()
            tunnel.send("GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            #expect(tunnel.readHead()?.hasPrefix("HTTP/1.1 101 ") == true)
            far.cut()
            tunnel.send("hello")
            #expect(begun.readToEnd() == Array("some".utf8))
            #expect(tunnel.readToEnd().isEmpty)
            #expect(await fixture.wait { app.activity.isIdle })
            #expect(fixture.proxy.metrics.apps.first?.upstreamFailures[.lost] == 2)
        }
    }

    @Test func `an upstream that takes no bytes, and a client that does not, are not lost`() async throws {
        let app = App(name: "app")
        let far = try FarUpstream()
        defer { far.stop() }
        let router = ElsewhereRouter(Upstream(app: app, address: .tcp(host: "127.0.0.1", port: far.port)))
        try await Self.withProxy(router) { fixture in
            // More than the kernels keep, both ways, with a pause longer than the silence that is allowed.
            let size = 12_000_000
            let isDone = Flag()
            let client = try fixture.connect()
            thread {
                client.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
                client.send([UInt8](repeating: 0x78, count: size))
                isDone.set()
            }
            #expect(await fixture.wait { far.received == 1 })
            try await Task.sleep(for: .seconds(6))
            #expect(router.failures.isEmpty)
            far.goesOn.set()
            #expect(await fixture.wait { isDone.isSet })
            try await Task.sleep(for: .seconds(6))
            #expect(client.readAnswer()?.body.utf8.count == size)
            #expect(router.failures.isEmpty)
        }
    }

    @Test func `a client that vanished is noticed, whether something is sent to it or not`() async throws {
        try await ProxyFixture.with(configure: { $0.timeouts.clientSilence = .seconds(1) }) { fixture in
            let speaks = Flag()
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, upstream in
                guard let head = socket.readHead() else { return }
                upstream.note(head)
                guard head.contains("/live") else {
                    _ = socket.readToEnd()
                    return
                }
                socket.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                )
                while !speaks.isSet { usleep(10_000) }
                socket.send("hello")
                _ = socket.readToEnd()
            }
            defer {
                speaks.set()
                upstream.stop()
            }
            let waiting = try fixture.connect()
            waiting.send(Self.get)
            let tunnel = try fixture.connect()
            tunnel.send("GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            #expect(tunnel.readHead()?.hasPrefix("HTTP/1.1 101 ") == true)
            #expect(await fixture.wait { upstream.receivedHeads.count == 2 })
            // Before the first probe is due, so that what is sent has to find it.
            tunnel.dropIncoming()
            speaks.set()
            #expect(await fixture.wait { fixture.app.activity.openTunnels == 0 })
            #expect(fixture.app.activity.runningRequests == 1)
            waiting.dropIncoming()
            #expect(await fixture.wait { fixture.app.activity.isIdle })
            #expect(fixture.observer.ended.map(\.outcome) == [.clientLeft, .clientLeft])
        }
    }

    private static func withProxy(
        _ router: ElsewhereRouter,
        configure: @escaping (inout ProxyConfiguration) -> Void = { _ in },
        _ body: (ProxyFixture) async throws -> Void
    ) async throws {
        try await ProxyFixture.with(
            configure: {
                $0.timeouts.upstreamSilence = .seconds(4)
                $0.timeouts.clientSilence = .seconds(2)
                configure(&$0)
            },
            router: { _, _ in router },
            body
        )
    }
}

/// An upstream on TCP whose link can be cut.
private final class FarUpstream: Sendable {
    let holdsAnswers = Flag()
    let goesOn = Flag()
    private let upstream: TestUpstream
    private let sockets: Sockets

    private final class Sockets: Sendable {
        let open = Mutex<[TestSocket]>([])
    }

    init() throws {
        let (sockets, holdsAnswers, goesOn) = (Sockets(), holdsAnswers, goesOn)
        self.sockets = sockets
        upstream = try TestUpstream { socket, upstream in
            sockets.open.withLock { $0.append(socket) }
            while let head = socket.readHead() {
                let length = TestAnswer(head: head).field("content-length").flatMap { Int($0) } ?? 0
                upstream.note(head)
                if head.contains("/slow") {
                    while !goesOn.isSet { usleep(10_000) }
                    _ = socket.read(length)
                    socket.send(ok(String(repeating: "y", count: length)))
                    continue
                }
                _ = socket.read(length)
                if head.contains("/begun") {
                    socket.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
                } else if head.contains("/live") {
                    socket.send(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                    )
                } else if !holdsAnswers.isSet {
                    socket.send(ok("far"))
                }
            }
        }
    }

    var port: UInt16 { upstream.port }
    var received: Int { upstream.receivedHeads.count }

    /// Connections that are open stay as they are, and nothing passes on them any more.
    func cut() { sockets.open.withLock { $0 }.forEach { $0.dropIncoming() } }

    /// Nobody can connect either.
    func cutForAll() {
        cut()
        upstream.dropIncoming()
    }

    func stop() {
        goesOn.set()
        upstream.stop()
        // Its thread waits for bytes that do not arrive.
        sockets.open.withLock { $0 }.forEach { $0.endBoth() }
    }
}

/// Sends everything to one upstream; a request that failed there goes to another if there is one.
private final class ElsewhereRouter: Router {
    private let first: Upstream
    private let state = Mutex<(elsewhere: Upstream?, hasFailed: Bool, failures: [UpstreamFailure])>(
        (nil, false, [])
    )

    init(_ first: Upstream) { self.first = first }

    var failures: [UpstreamFailure] { state.withLock { $0.failures } }

    func elsewhere(_ upstream: Upstream) { state.withLock { $0.elsewhere = upstream } }

    func route(_ request: borrowing RoutedRequest) -> RouteDecision {
        state.withLock { state in
            defer { state.hasFailed = false }
            return .forward(state.hasFailed ? state.elsewhere ?? first : first)
        }
    }

    func failed(
        _ failure: UpstreamFailure,
        of upstream: Upstream,
        request: borrowing RoutedRequest
    ) -> FailureDecision {
        let isGet = request.method == "GET"
        return state.withLock { state in
            state.failures.append(failure)
            state.hasFailed = isGet && state.elsewhere != nil
            return state.elsewhere == nil ? .answer : .retry
        }
    }
}
