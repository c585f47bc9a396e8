import Glibc
import Proxy
import Synchronization
import Testing

/// Apps are written by others: what one says must not reach past its own answer, and what one does not do must not
/// hold anything for ever.
@Suite("Hostile upstreams and stalled clients")
struct HostileUpstreamTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    private static let upgrade =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    private static let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    @Test(arguments: [
        ("x: " + String(repeating: "y", count: 70_000) + "\r\n", "a line that is too long"),
        ((0..<1001).map { "x-\($0): 1\r\n" }.joined(), "too many lines"),
        ("x: a\rb\r\n", "a carriage return in a value"), ("x: a\u{0}b\r\n", "a NUL in a value"),
        ("x: a\nset-cookie: b\r\n", "a line that ends in LF alone"),
        ("x : a\r\n", "a space before the colon"),
        ("x: a\r\n\tset-cookie: b\r\n", "a folded line"), ("content-length: +1\r\n", "a signed length"),
        ("transfer-encoding: gzip\r\n", "an unknown coding"),
    ]) func `a head that is not as it must be is a bad gateway`(lines: String, what: String) async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in
                "HTTP/1.1 200 OK\r\n\(lines)\r\n"
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 502, "\(what)")
            #expect(!answer.head.contains("set-cookie"), "\(what)")
        }
    }

    @Test func `the largest head that is allowed goes through`() async throws {
        try await ProxyFixture.with { fixture in
            let value = String(repeating: "y", count: 60_000)
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in
                ok("body", extra: "x: \(value)\r\n")
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            let answer = try #require(client.readAnswer())
            #expect(answer.field("x") == value)
            #expect(answer.body == "body")
        }
    }

    @Test func `a second answer behind the first reaches nobody`() async throws {
        try await ProxyFixture.with { fixture in
            let count = Atomic<Int>(0)
            let upstream = try TestUpstream.answering(fixture.socketPath) { head, _ in
                let number = count.add(1, ordering: .relaxed).newValue
                return ok("own \(number)") + ok("stolen")
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            for number in 1...20 {
                client.send(Self.get)
                #expect(client.readAnswer()?.body == "own \(number)")
            }
            // And one that comes later, while the connection is idle.
            let late = try TestUpstream(path: fixture.folder + "/late.sock") { socket, _ in
                guard socket.readHead() != nil else { return }
                socket.send(ok("own"))
                usleep(100_000)
                socket.send(ok("stolen"))
                while socket.readHead() != nil { socket.send(ok("own")) }
            }
            defer { late.stop() }
            let route = Upstream(app: fixture.app, address: .unix(path: fixture.folder + "/late.sock"))
            await fixture.proxy.publish(NameRouter([:], otherwise: .forward(route)))
            client.send(Self.get)
            #expect(client.readAnswer()?.body == "own")
            try await Task.sleep(for: .milliseconds(500))
            client.send(Self.get)
            #expect(client.readAnswer()?.body == "own")
        }
    }

    @Test func `a head that drips for ever, and interim answers without end, are ended`() async throws {
        try await ProxyFixture.with(configure: { $0.timeouts.answer = .milliseconds(500) }) { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard let head = socket.readHead() else { return }
                guard socket.send(head.contains("drip") ? "HTTP/1.1 200 OK\r\n" : "") else { return }
                while true {
                    guard socket.send(head.contains("drip") ? "x" : "HTTP/1.1 103 Early Hints\r\n\r\n") else {
                        return
                    }
                    usleep(head.contains("drip") ? 20_000 : 100)
                }
            }
            defer { upstream.stop() }
            let dripping = try fixture.connect()
            dripping.send("GET /drip HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(dripping.readAnswer()?.status == 504)
            let informed = try fixture.connect()
            informed.send(Self.get)
            var interim = 0
            while let head = informed.readHead() {
                guard head.hasPrefix("HTTP/1.1 103") else {
                    #expect(head.hasPrefix("HTTP/1.1 502"))
                    break
                }
                interim += 1
            }
            #expect(interim == 32)
            #expect(await fixture.wait { fixture.app.activity.isIdle })
        }
    }

    @Test func `a chunked answer that turns bad cuts the client's connection`() async throws {
        for bad in [
            "zz\r\n", "5;\u{1}\r\nhello\r\n", "FFFFFFFFFFFFFFFF\r\n", "0\r\nContent-Length: 5\r\n\r\n",
        ] {
            try await ProxyFixture.with { fixture in
                let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n" + bad
                }
                defer { upstream.stop() }
                let client = try fixture.connect()
                client.send(Self.get)
                let text = String(decoding: client.readToEnd(), as: UTF8.self)
                #expect(text.hasPrefix("HTTP/1.1 200") || text.hasPrefix("HTTP/1.1 502"))
                #expect(!text.hasSuffix("0\r\n\r\n"), "it must not look whole: \(bad.debugDescription)")
                #expect(await fixture.wait { fixture.app.activity.isIdle })
            }
        }
    }

    @Test func `an endless answer waits for its client, and ends with it`() async throws {
        try await ProxyFixture.with(configure: { $0.timeouts.send = .milliseconds(300) }) { fixture in
            let sent = Atomic<Int>(0)
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard socket.readHead() != nil else { return }
                socket.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                let piece = Array("10000\r\n\(String(repeating: "x", count: 65_536))\r\n".utf8)
                while socket.send(piece) { sent.add(piece.count, ordering: .relaxed) }
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            #expect(client.readHead()?.hasPrefix("HTTP/1.1 200") == true)
            // The client reads no more: the proxy holds one piece, the kernel what fits in its buffers.
            #expect(await fixture.wait { fixture.observer.ended.count == 1 })
            #expect(fixture.observer.ended.first?.outcome == .clientTooSlow)
            #expect(sent.load(ordering: .relaxed) < 64_000_000)
            #expect(await fixture.wait { fixture.app.activity.isIdle })
            let leaver = try fixture.connect()
            leaver.send(Self.get)
            #expect(leaver.read(1_000_000).count == 1_000_000)
            leaver.reset()
            #expect(await fixture.wait { fixture.observer.ended.count == 2 && fixture.app.activity.isIdle })
            #expect(fixture.observer.ended.last?.outcome == .clientLeft)
        }
    }

    @Test func `an upstream that takes no body is a gateway timeout`() async throws {
        try await ProxyFixture.with(configure: { $0.timeouts.body = .milliseconds(300) }) { fixture in
            let isDone = Flag()
            let upstream = try TestUpstream(path: fixture.socketPath) { _, _ in
                while !isDone.isSet { usleep(10_000) }
            }
            defer {
                isDone.set()
                upstream.stop()
            }
            let client = try fixture.connect()
            thread {
                client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
                let piece = [UInt8](repeating: 1, count: 100_000)
                for _ in 0..<1000 { guard client.send(piece) else { return } }
            }
            #expect(await fixture.wait { fixture.observer.ended.count == 1 })
            #expect(fixture.observer.ended.first?.outcome == .upstreamFailed(.answerTimeout))
            #expect(await fixture.wait { fixture.app.activity.isIdle })
        }
    }

    @Test(arguments: [true, false]) func `a flood in a tunnel is held back, and ended when nobody reads`(
        isFromApp: Bool
    ) async throws {
        try await ProxyFixture.with(configure: { $0.timeouts.send = .milliseconds(300) }) { fixture in
            let sent = Atomic<Int>(0)
            let isDone = Flag()
            let flood: @Sendable (TestSocket) -> Void = { socket in
                let piece = [UInt8](repeating: 7, count: 100_000)
                while socket.send(piece) { sent.add(piece.count, ordering: .relaxed) }
            }
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard socket.readHead() != nil else { return }
                socket.send(Self.switching)
                if isFromApp { flood(socket) } else { while !isDone.isSet { usleep(10_000) } }
            }
            defer {
                isDone.set()
                upstream.stop()
            }
            let client = try fixture.connect()
            client.send(Self.upgrade)
            #expect(client.readHead()?.hasPrefix("HTTP/1.1 101") == true)
            if !isFromApp { thread { flood(client) } }
            #expect(await fixture.wait { fixture.observer.ended.count == 1 })
            #expect(sent.load(ordering: .relaxed) < 64_000_000)
            #expect(await fixture.wait { fixture.app.activity.isIdle })
        }
    }

    @Test func `an app has as many tunnels as its limit allows`() async throws {
        var limits = AppLimits()
        limits.openTunnels = 2
        try await ProxyFixture.with(limits: limits) { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                while let head = socket.readHead() {
                    socket.send(head.contains("Upgrade") ? Self.switching : ok("plain"))
                }
            }
            defer { upstream.stop() }
            let open = try (0..<2).map { _ in try fixture.connect() }
            for client in open {
                client.send(Self.upgrade)
                #expect(client.readHead()?.hasPrefix("HTTP/1.1 101") == true)
            }
            let third = try fixture.connect()
            third.send(Self.upgrade)
            let refused = try #require(third.readAnswer())
            #expect(refused.status == 503)
            #expect(refused.field("retry-after") != nil)
            third.send(Self.get)
            #expect(third.readAnswer()?.body == "plain", "other requests are served")
            open[0].close()
            #expect(await fixture.wait { fixture.app.activity.openTunnels == 1 })
            let fourth = try fixture.connect()
            fourth.send(Self.upgrade)
            #expect(fourth.readHead()?.hasPrefix("HTTP/1.1 101") == true)
        }
    }
}
