import Glibc
import Proxy
import Synchronization
import Testing

@Suite("Faults, limits and time-outs")
struct FaultTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func `a refused request is answered with its reason and closed`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in ok("x") }
            defer { upstream.stop() }
            let text = try fixture.exchange(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                    + Self.get
            )
            #expect(text.hasPrefix("HTTP/1.1 400 "))
            #expect(text.contains("length_and_transfer_encoding"))
            #expect(text.contains("Connection: close"))
            #expect(text.components("HTTP/1.1") == 1, "nothing after a refused request is answered")
            let chunked = try fixture.exchange(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"
                    + Self.get
            )
            #expect(chunked.hasPrefix("HTTP/1.1 400 "))
            #expect(upstream.receivedHeads.isEmpty)
            #expect(fixture.proxy.metrics.refusedRequests == 2)
        }
    }

    @Test func `a body that turns bad while it is forwarded ends both connections`() async throws {
        try await ProxyFixture.with { fixture in
            let seen = Mutex("")
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, upstream in
                guard let head = socket.readHead() else { return }
                upstream.note(head)
                upstream.note(String(decoding: socket.readToEnd(), as: UTF8.self))
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            #expect(await fixture.wait { upstream.receivedHeads.count == 1 })
            client.send("zz\r\n0\r\n\r\n" + Self.get)
            #expect(client.readAnswer()?.status == 400)
            #expect(await fixture.wait { upstream.receivedHeads.count == 2 })
            #expect(upstream.receivedHeads.last == "5\r\nhello\r\n")
            seen.withLock { $0 = "" }
        }
    }

    @Test func `a kept connection that the upstream has closed costs the client nothing`() async throws {
        try await ProxyFixture.with { fixture in
            // Closes right after the second request's head has arrived on a connection, without an answer.
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, upstream in
                guard let head = socket.readHead() else { return }
                upstream.note(head)
                socket.send(ok("x"))
                if let second = socket.readHead() { upstream.note(second) }
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            for _ in 0..<5 {
                client.send(Self.get)
                #expect(client.readAnswer()?.status == 200)
            }
            #expect(fixture.proxy.metrics.apps.first?.retried ?? 0 >= 4)
            // A request that is not safe to repeat is not.
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            #expect(client.readAnswer()?.status == 502)
        }
    }

    @Test func `garbage from an upstream is a bad gateway`() async throws {
        for garbage in [
            "hello\r\n\r\n", "HTTP/1.1 20\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\nx: y\n\n", "HTTP/1.1 200 OK\r\nx\r\n\r\n", "HTTP/1.1 200 OK\r\n x: y\r\n\r\n",
        ] {
            try await ProxyFixture.with { fixture in
                let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in garbage }
                defer { upstream.stop() }
                let client = try fixture.connect()
                client.send(Self.get)
                let answer = try #require(client.readAnswer())
                #expect(answer.status == 502, "\(garbage.debugDescription)")
                #expect(answer.body.contains("upstream_malformed_answer"))
            }
        }
    }

    @Test func `an answer that stops in its middle ends the client's connection`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard socket.readHead() != nil else { return }
                socket.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            #expect(client.readHead()?.hasPrefix("HTTP/1.1 200") == true)
            #expect(client.readToEnd() == Array("half".utf8))
            #expect(await fixture.wait { fixture.observer.ended.count == 1 })
            #expect(fixture.observer.ended.first?.outcome == .upstreamFailed(.closedInAnswer))
        }
    }

    @Test func `nobody listening is a bad gateway, and the daemon may say more`() async throws {
        try await ProxyFixture.with { fixture in
            let client = try fixture.connect()
            client.send(Self.get)
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 502)
            #expect(answer.body.contains("upstream_refused"))
            #expect(answer.field("x-request-id") != nil)
        }
        try await ProxyFixture.with(router: { app, folder in
            FailureRouter(upstream: Upstream(app: app, address: .unix(path: folder + "/none.sock")))
        }) { fixture in
            let client = try fixture.connect()
            client.send(Self.get)
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 507)
            #expect(answer.body.contains("worker_out_of_memory"))
        }
    }

    @Test func `an upstream that never answers is a gateway timeout`() async throws {
        try await ProxyFixture.with(configure: { $0.timeouts.answer = .milliseconds(200) }) { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in _ = socket.readToEnd() }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 504)
            #expect(answer.body.contains("upstream_timeout"))
            #expect(await fixture.wait { fixture.app.activity.isIdle })
        }
    }

    @Test func `slow heads and slow bodies are timed out, idle connections closed`() async throws {
        try await ProxyFixture.with(configure: {
            $0.timeouts.head = .milliseconds(200)
            $0.timeouts.body = .milliseconds(200)
            $0.timeouts.idle = .milliseconds(200)
        }) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in ok("x") }
            defer { upstream.stop() }
            let slowHead = try fixture.connect()
            slowHead.send("GET / HTTP/1.1\r\nHost:")
            #expect(slowHead.readAnswer()?.status == 408)
            let slowBody = try fixture.connect()
            slowBody.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            let answer = try #require(slowBody.readAnswer())
            #expect(answer.status == 408)
            #expect(answer.body.contains("body_timeout"))
            let silent = try fixture.connect()
            #expect(silent.readToEnd().isEmpty)
            let idle = try fixture.connect()
            idle.send(Self.get)
            #expect(idle.readAnswer()?.status == 200)
            #expect(idle.readToEnd().isEmpty)
        }
    }

    @Test func `a head that trickles in byte by byte is served`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, body in ok(body) }
            defer { upstream.stop() }
            let client = try fixture.connect()
            var one: Int32 = 1
            setsockopt(client.descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
            for byte
                in "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                .utf8
            {
                client.send([byte])
                usleep(500)
            }
            #expect(client.readAnswer()?.body == "5\r\nhello\r\n0\r\n\r\n")
        }
    }

    @Test func `limits of requests, connections and bodies are kept`() async throws {
        var limits = AppLimits()
        limits.runningRequests = 1
        let release = Flag()
        try await ProxyFixture.with(
            limits: limits,
            configure: {
                $0.limits.connections = 3
                $0.limits.bodyBytes = 10
            }
        ) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in
                while !release.isSet { usleep(10_000) }
                return ok("x")
            }
            defer {
                release.set()
                upstream.stop()
            }
            let first = try fixture.connect()
            first.send(Self.get)
            #expect(await fixture.wait { fixture.app.activity.runningRequests == 1 })
            let second = try fixture.connect()
            second.send(Self.get)
            let refused = try #require(second.readAnswer())
            #expect(refused.status == 503)
            #expect(refused.field("retry-after") == "1")
            let third = try fixture.connect()
            third.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
            #expect(third.readAnswer()?.status == 413)
            let fourth = try fixture.connect()
            let fifth = try fixture.connect()
            let answers = [
                fourth.readAnswer()?.status,
                fifth.hasMore(withinMilliseconds: 3000) ? fifth.readAnswer()?.status : nil,
            ]
            #expect(answers.contains(503))
            release.set()
            #expect(first.readAnswer()?.status == 200)
        }
    }

    @Test func `a client that leaves is noticed and its request ended`() async throws {
        try await ProxyFixture.with { fixture in
            let gone = Flag()
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard socket.readHead() != nil else { return }
                _ = socket.readToEnd()
                gone.set()
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            #expect(await fixture.wait { fixture.app.activity.runningRequests == 1 })
            client.reset()
            #expect(await fixture.wait { gone.isSet })
            #expect(await fixture.wait { fixture.app.activity.isIdle })
            #expect(fixture.observer.ended.first?.outcome == .clientLeft)
        }
    }
}

struct FailureRouter: Router {
    let upstream: Upstream
    func route(_ request: borrowing RoutedRequest) -> RouteDecision { .forward(upstream) }
    func failed(
        _ failure: UpstreamFailure,
        of upstream: Upstream,
        request: borrowing RoutedRequest
    ) -> FailureDecision {
        .respond(
            .error(
                status: 507,
                code: "worker_out_of_memory",
                message: "\(request.hostName) used all its memory"
            )
        )
    }
}

final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}

extension String {
    /// How often a text occurs.
    func components(_ part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
