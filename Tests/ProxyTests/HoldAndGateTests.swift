import Proxy
import Synchronization
import Testing

@Suite("Holding, gating and draining")
struct HoldAndGateTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func `held requests go on with their bodies when the router is asked again`() async throws {
        var limits = AppLimits()
        // None may be refused while the test is still busy with the last.
        limits.holdTime = .seconds(300)
        try await ProxyFixture.with(
            limits: limits,
            router: { app, _ in NameRouter([:], otherwise: .hold(app)) }
        ) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, body in ok(body) }
            defer { upstream.stop() }
            var clients: [TestSocket] = []
            for index in 0..<300 {
                let client = try fixture.connect()
                client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\(1000 + index)")
                clients.append(client)
            }
            #expect(await fixture.wait { fixture.app.activity.heldRequests == 300 })
            #expect(fixture.observer.started.isEmpty)
            await fixture.proxy.publish(NameRouter([:], otherwise: .forward(fixture.upstream)))
            #expect(fixture.app.activity.heldRequests == 300, "publishing alone does not let them go")
            fixture.proxy.retryHeld(fixture.app)
            for (index, client) in clients.enumerated() {
                #expect(client.readAnswer()?.body == "\(1000 + index)")
            }
            #expect(await fixture.wait { fixture.app.activity.isIdle })
            #expect(await fixture.wait { fixture.proxy.metrics.heldBytes == 0 })
            #expect(fixture.proxy.metrics.apps.first?.held == 300)
        }
    }

    @Test func `held requests are bounded in number and time, can be refused, and may leave`() async throws {
        var limits = AppLimits()
        limits.heldRequests = 2
        limits.holdTime = .milliseconds(300)
        try await ProxyFixture.with(
            limits: limits,
            router: { app, _ in NameRouter([:], otherwise: .hold(app)) }
        ) { fixture in
            let clients = try (0..<3).map { _ in try fixture.connect() }
            for client in clients { client.send(Self.get) }
            let bodies = clients.compactMap { $0.readAnswer() }
            #expect(bodies.map(\.status) == [503, 503, 503])
            #expect(bodies.filter { $0.body.contains("too_many_held") }.count == 1)
            #expect(bodies.filter { $0.body.contains("held_too_long") }.count == 2)
            #expect(bodies.allSatisfy { $0.field("retry-after") != nil })
            #expect(await fixture.wait { fixture.app.activity.isIdle })
        }
        try await ProxyFixture.with(router: { app, _ in NameRouter([:], otherwise: .hold(app)) }) { fixture in
            let client = try fixture.connect()
            client.send(Self.get)
            let leaver = try fixture.connect()
            leaver.send(Self.get)
            #expect(await fixture.wait { fixture.app.activity.heldRequests == 2 })
            leaver.reset()
            #expect(await fixture.wait { fixture.app.activity.heldRequests == 1 })
            fixture.proxy.refuseHeld(
                fixture.app,
                with: .error(status: 503, code: "crash_loop", message: "It crashed.")
            )
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 503)
            #expect(answer.body.contains("crash_loop"))
            client.send(Self.get)
            #expect(await fixture.wait { fixture.app.activity.heldRequests == 1 }, "the connection serves on")
        }
    }

    @Test func `a request whose upstream is gone can be held until there is another`() async throws {
        try await ProxyFixture.with(router: { app, folder in
            HoldOnFailure(upstream: Upstream(app: app, address: .unix(path: folder + "/gone.sock")))
        }) { fixture in
            let client = try fixture.connect()
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            #expect(await fixture.wait { fixture.app.activity.heldRequests == 1 })
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, body in ok(body) }
            defer { upstream.stop() }
            await fixture.proxy.publish(NameRouter([:], otherwise: .forward(fixture.upstream)))
            fixture.proxy.retryHeld(fixture.app)
            #expect(client.readAnswer()?.body == "abc")
        }
    }

    @Test func `a ready answer and an unknown name are answered by the proxy`() async throws {
        let ready = ReadyAnswer(
            status: 200,
            headers: [("Content-Type", "text/plain")],
            body: Array("ready".utf8)
        )
        try await ProxyFixture.with(router: { app, _ in NameRouter(["a": .respond(ready, app)]) }) {
            fixture in
            let client = try fixture.connect()
            client.send("POST / HTTP/1.1\r\nHost: A.:80\r\nContent-Length: 5\r\n\r\nhello" + Self.get)
            #expect(client.readAnswer()?.body == "ready")
            #expect(client.readAnswer()?.body == "ready")
            client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n")
            #expect(client.readHead()?.contains("Content-Length: 5") == true)
            let unknown = try #require(client.readAnswer())
            #expect(unknown.status == 404)
            #expect(unknown.body.contains("nobody.localhost"))
            #expect(await fixture.wait { fixture.proxy.metrics.apps.first?.success == 3 })
            #expect(fixture.proxy.metrics.unknownNames == 1)
        }
    }

    @Test func `a gated answer waits for its release, and can be replaced`() async throws {
        let gate = TestGate()
        var options = Upstream.Options()
        options.gate = gate
        options.hiddenAnswerFields = ["x-writes"]
        try await ProxyFixture.with(options: options) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { head, _ in
                ok("written", extra: head.hasPrefix("POST") ? "x-writes: 1\r\n" : "")
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            #expect(client.readAnswer()?.body == "written", "reads do not wait")
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            #expect(await fixture.wait { gate.tickets.count == 1 })
            #expect(!client.hasMore(withinMilliseconds: 50))
            #expect(fixture.app.activity.runningRequests == 1)
            gate.tickets.first?.release(.pass)
            let answer = try #require(client.readAnswer())
            #expect(answer.body == "written")
            #expect(answer.field("x-writes") == nil)
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            #expect(await fixture.wait { gate.tickets.count == 2 })
            gate.tickets.first?.release(.pass)
            #expect(!client.hasMore(withinMilliseconds: 50), "an old ticket does nothing")
            gate.tickets.last?.release(
                .replace(.error(status: 503, code: "store_down", message: "Not replicated."))
            )
            #expect(client.readAnswer()?.body.contains("store_down") == true)
            client.send(Self.get)
            #expect(client.readAnswer()?.body == "written")
        }
    }

    @Test func `messages of a tunnel wait at the gate too`() async throws {
        let gate = TestGate(holdsTunnels: true)
        var options = Upstream.Options()
        options.gate = gate
        try await ProxyFixture.with(options: options) { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard socket.readHead() != nil else { return }
                socket.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                )
                while socket.fill() { socket.send(socket.take(socket.buffer.count)) }
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            #expect(client.readHead() != nil)
            client.send("message")
            #expect(await fixture.wait { gate.tickets.count == 1 })
            #expect(!client.hasMore(withinMilliseconds: 50))
            gate.tickets.first?.release(.pass)
            #expect(String(decoding: client.read(7), as: UTF8.self) == "message")
        }
    }

    @Test func `a drain finishes what runs, closes what is idle and stops accepting`() async throws {
        try await ProxyFixture.with { fixture in
            let release = Flag()
            let upstream = try TestUpstream.answering(fixture.socketPath) { head, _ in
                if head.contains("/slow") { while !release.isSet { usleep10() } }
                return ok("done")
            }
            defer {
                release.set()
                upstream.stop()
            }
            let idle = try fixture.connect()
            idle.send(Self.get)
            #expect(idle.readAnswer()?.body == "done")
            let busy = try fixture.connect()
            busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await fixture.wait { fixture.app.activity.runningRequests == 1 })
            let port = fixture.port
            async let drained: Void = fixture.proxy.drain(deadline: .seconds(30))
            #expect(idle.readToEnd().isEmpty)
            #expect(await fixture.wait { (try? TestSocket.connect(port: port)) == nil })
            release.set()
            let answer = try #require(busy.readAnswer())
            #expect(answer.body == "done")
            #expect(answer.field("connection") == "close")
            await drained
            #expect(fixture.proxy.metrics.openConnections == 0)
        }
    }

    @Test func `a drain cuts what is not done at its deadline`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in _ = socket.readToEnd() }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            #expect(await fixture.wait { fixture.app.activity.runningRequests == 1 })
            await fixture.proxy.drain(deadline: .milliseconds(100))
            #expect(client.readToEnd().isEmpty)
            #expect(fixture.app.activity.isIdle)
            #expect(fixture.observer.ended.first?.outcome == .stopped)
        }
    }

    @Test func `an address in use is a helpful error`() async throws {
        try await ProxyFixture.with { fixture in
            for loops in [1, 2] {
                var configuration = ProxyConfiguration(listeners: [.init(port: fixture.port)])
                configuration.loops = loops
                let other = try ProxyServer(configuration, router: NameRouter([:]))
                let error = #expect(throws: ProxyError.self) { try other.start() }
                #expect(error?.code == .addressInUse)
                #expect(error?.message.contains("127.0.0.1:\(fixture.port)") == true)
                other.stop()
            }
        }
    }
}

private func usleep10() { usleepMilliseconds(10) }

struct HoldOnFailure: Router {
    let upstream: Upstream
    func route(_ request: borrowing RoutedRequest) -> RouteDecision { .forward(upstream) }
    func failed(
        _ failure: UpstreamFailure,
        of upstream: Upstream,
        request: borrowing RoutedRequest
    ) -> FailureDecision { .hold(upstream.app) }
}

/// Holds answers that say they have written, and, if told so, what tunnels bring.
final class TestGate: AnswerGate {
    private let state = Mutex<[GateTicket]>([])
    private let holdsTunnels: Bool

    init(holdsTunnels: Bool = false) { self.holdsTunnels = holdsTunnels }

    var tickets: [GateTicket] { state.withLock { $0 } }

    func check(_ answer: borrowing GatedAnswer) -> GateDecision {
        let holds =
            switch answer.stage {
            case .head: answer.header("X-Writes") != nil
            case .body: false
            case .tunnel: holdsTunnels
            }
        guard holds else { return .pass }
        let ticket = answer.ticket
        state.withLock { $0.append(ticket) }
        return .hold
    }
}
