import Proxy
import Testing

@Suite("Forwarding")
struct ForwardingTests {
    @Test func `a request is forwarded with its own lines and ours`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in ok("hello") }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(
                "GET /a?b=c HTTP/1.1\r\nHost: App.Localhost:8080\r\nAccept: x\r\nX-Forwarded-For: 6.6.6.6\r\n"
                    + "Forwarded: for=6.6.6.6\r\nTE: trailers\r\nConnection: x-private, keep-alive\r\nX-Private: 1\r\n\r\n"
            )
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 200)
            #expect(answer.body == "hello")
            let head = TestAnswer(head: try #require(upstream.receivedHeads.first))
            #expect(head.lines.first == "GET /a?b=c HTTP/1.1")
            #expect(head.fields("host") == ["App.Localhost:8080"])
            #expect(head.fields("accept") == ["x"])
            #expect(head.fields("x-forwarded-for") == ["127.0.0.1"])
            #expect(head.fields("x-forwarded-host") == ["App.Localhost:8080"])
            #expect(head.fields("x-forwarded-proto") == ["http"])
            #expect(head.fields("forwarded") == ["for=127.0.0.1;host=\"App.Localhost:8080\";proto=http"])
            #expect(head.fields("te").isEmpty)
            #expect(head.fields("connection").isEmpty)
            #expect(head.fields("x-private").isEmpty)
            #expect(head.field("x-request-id")?.utf8.count == 32)
            #expect(fixture.observer.started == ["GET app.localhost /a?b=c"])
        }
    }

    @Test func `both sides are kept alive and pipelined requests are answered in order`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { head, _ in
                ok(String(head.split(separator: " ")[1]))
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            let requests = (0..<50).map { "GET /\($0) HTTP/1.1\r\nHost: a\r\n\r\n" }.joined()
            client.send(requests)
            for index in 0..<50 { #expect(client.readAnswer()?.body == "/\(index)") }
            #expect(upstream.connectionCount == 1)
        }
    }

    @Test func `bodies go through in both directions whatever their size and framing`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, body in ok(body) }
            defer { upstream.stop() }
            let client = try fixture.connect()
            for size in [0, 1, 1000, 100_000, 3_000_000] {
                let body = String(repeating: "x", count: size)
                thread { client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n\(body)") }
                #expect(client.readAnswer()?.body.utf8.count == size)
            }
            client.send(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            )
            #expect(client.readAnswer()?.body == "5\r\nhello\r\n0\r\n\r\n")
        }
    }

    @Test func `an upstream that dies while it answers gives 502 with a reason`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in _ = socket.readHead() }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 502)
            #expect(answer.field("content-type") == "application/json")
            #expect(answer.body.contains("\"upstream_closed\""))
        }
    }
}
