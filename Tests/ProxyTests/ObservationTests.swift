import Glibc
import Proxy
import Testing

@Suite("Log, metrics and peers")
struct ObservationTests {
    @Test func `every request leaves one line of JSON and is counted`() async throws {
        var descriptors: [Int32] = [0, 0]
        #expect(pipe(&descriptors) == 0)
        let reader = descriptors[0]
        let writer = descriptors[1]
        defer {
            close(reader)
            close(writer)
        }
        try await ProxyFixture.with(configure: { $0.accessLog = .descriptor(writer) }) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { head, _ in
                head.contains("/missing")
                    ? "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n" : ok("hello")
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send("GET /a\"b HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine-1\r\n\r\n")
            #expect(client.readAnswer()?.status == 200)
            client.send("POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            #expect(client.readAnswer()?.status == 404)
            #expect(TestAnswer(head: upstream.receivedHeads[0]).field("x-request-id") == "mine-1")
            let broken = try fixture.connect()
            broken.send("nonsense\r\n\r\n")
            #expect(broken.readAnswer()?.status == 400)
            #expect(await fixture.wait { fixture.proxy.metrics.apps.first?.latency.total == 2 })
            let metrics = try #require(fixture.proxy.metrics.apps.first)
            #expect(metrics.success == 1)
            #expect(metrics.clientError == 1)
            #expect(metrics.bytesIn == 3)
            #expect(metrics.bytesOut == 5)
            #expect(metrics.latency.total == 2)
            #expect(fixture.proxy.metrics.refusedRequests == 1)
            #expect(await fixture.wait { fixture.proxy.metrics.accessLogLines == 3 })
        }
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = read(reader, &bytes, bytes.count)
        let lines = String(decoding: bytes[..<max(count, 0)], as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 3)
        #expect(lines.first?.contains(#""app":"app""#) == true)
        #expect(lines.first?.contains(#""path":"/a\"b""#) == true)
        #expect(lines.first?.contains(#""id":"mine-1""#) == true)
        #expect(lines.last?.contains(#""reason":"malformed_method""#) == true)
    }

    @Test func `a log that cannot be written is dropped and counted, and holds nobody up`() async throws {
        var descriptors: [Int32] = [0, 0]
        #expect(pipe(&descriptors) == 0)
        // 1031 is F_SETPIPE_SZ. Nobody reads, and the pipe is full: the log's writer cannot go on.
        _ = fcntl(descriptors[1], 1031, 4096)
        _ = fcntl(descriptors[1], F_SETFL, O_NONBLOCK)
        let filler = [UInt8](repeating: 10, count: 4096)
        _ = write(descriptors[1], filler, filler.count)
        let writer = descriptors[1]
        defer {
            close(descriptors[0])
            close(descriptors[1])
        }
        try await ProxyFixture.with(configure: { $0.accessLog = .descriptor(writer) }) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in ok("x") }
            defer { upstream.stop() }
            let client = try fixture.connect()
            for _ in 0..<100 {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(client.readAnswer()?.status == 200)
            }
            #expect(await fixture.wait { fixture.proxy.metrics.accessLogDropped >= 100 })
        }
    }

    @Test func `the PROXY protocol names the client, and nothing else is served`() async throws {
        try await ProxyFixture.with(configure: { $0.listeners[0].expectsProxyProtocol = true }) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { head, _ in
                ok(TestAnswer(head: head).field("x-forwarded-for") ?? "")
            }
            defer { upstream.stop() }
            let header: [UInt8] =
                [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, 0, 12] + [
                    10, 1, 2, 3, 127, 0, 0, 1, 1, 2, 0, 80,
                ]
            let client = try fixture.connect()
            client.send(Array(header[..<7]))
            client.send(Array(header[7...]) + Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
            #expect(client.readAnswer()?.body == "10.1.2.3")
            let other = try fixture.connect()
            other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(other.readToEnd().isEmpty)
        }
    }

    @Test func `what a trusted proxy says is passed on, with its address added`() async throws {
        try await ProxyFixture.with(configure: { $0.listeners[0].trustsForwardedFields = true }) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in ok("x") }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(
                "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: https\r\n"
                    + "X-Forwarded-Host: b\r\nForwarded: for=10.1.2.3\r\n\r\n"
            )
            #expect(client.readAnswer()?.status == 200)
            let head = TestAnswer(head: try #require(upstream.receivedHeads.first))
            #expect(head.fields("x-forwarded-for") == ["10.1.2.3, 127.0.0.1"])
            #expect(head.fields("x-forwarded-proto") == ["https"])
            #expect(head.fields("x-forwarded-host") == ["b"])
            #expect(head.fields("forwarded") == ["for=10.1.2.3, for=127.0.0.1;host=\"a\";proto=http"])
        }
    }

    @Test func `many clients on several loops are all served and exactly counted`() async throws {
        try await ProxyFixture.with(configure: { $0.loops = 3 }) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { head, body in
                ok(String(head.split(separator: " ")[1]) + body)
            }
            defer { upstream.stop() }
            let failures = Counter()
            let finished = Counter()
            for worker in 0..<16 {
                thread {
                    defer { finished.add(1) }
                    guard let client = try? fixture.connect() else { return failures.add(1) }
                    for index in 0..<50 {
                        client.send(
                            "POST /\(worker)-\(index) HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n!"
                        )
                        if client.readAnswer()?.body != "/\(worker)-\(index)!" { failures.add(1) }
                    }
                }
            }
            #expect(await fixture.wait { finished.value == 16 })
            #expect(failures.value == 0)
            #expect(fixture.observer.started.count == 800)
            #expect(await fixture.wait { fixture.observer.ended.count == 800 && fixture.app.activity.isIdle })
            #expect(await fixture.wait { fixture.proxy.metrics.apps.first?.success == 800 })
        }
    }
}

func usleepMilliseconds(_ milliseconds: UInt32) { usleep(milliseconds * 1000) }
