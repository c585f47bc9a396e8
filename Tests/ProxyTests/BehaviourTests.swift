import Glibc
import Proxy
import Synchronization
import Testing

@Suite("Connections and bodies")
struct BehaviourTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func `chunks, trailers and interim answers go through as they come`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                while let head = socket.readHead() {
                    if head.contains("Expect: 100-continue") {
                        socket.send("HTTP/1.1 100 Continue\r\n\r\n")
                        _ = socket.read(5)
                    }
                    socket.send(
                        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: ch"
                    )
                    socket.send("unked\r\ntrailer: x-sum\r\n\r\n5\r\nhel")
                    socket.send("lo\r\n0\r\nx-sum: 1\r\n\r\n")
                }
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            #expect(client.readHead()?.hasPrefix("HTTP/1.1 100 ") == true)
            client.send("hello")
            #expect(client.readHead()?.hasPrefix("HTTP/1.1 103 ") == true)
            let head = TestAnswer(head: try #require(client.readHead()))
            #expect(head.status == 200)
            #expect(head.field("trailer") == "x-sum")
            let body = "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"
            #expect(String(decoding: client.read(body.utf8.count), as: UTF8.self) == body)
            // The connection is still in step.
            client.send(Self.get)
            #expect(client.readHead()?.hasPrefix("HTTP/1.1 103 ") == true)
        }
    }

    @Test func `an old client gets a plain body and no interim answer`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                while socket.readHead() != nil {
                    socket.send("HTTP/1.1 103 Early Hints\r\n\r\n")
                    socket.send(
                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n, w\r\n0\r\n\r\n"
                    )
                }
            }
            defer { upstream.stop() }
            let text = try fixture.exchange("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(text.hasSuffix("\r\n\r\nhello, w"))
            #expect(!text.lowercased().contains("transfer-encoding"))
        }
    }

    @Test func `HEAD has no body whatever its length says`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { head, _ in
                head.hasPrefix("HEAD") ? "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" : ok("x")
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + Self.get)
            #expect(client.readHead()?.contains("content-length: 1000") == true)
            #expect(client.readAnswer()?.body == "x")
        }
    }

    @Test func `an early answer reaches the client while its body is still arriving`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard let head = socket.readHead() else { return }
                socket.send(
                    head.hasPrefix("POST") ? "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno" : ok("x")
                )
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 413)
            #expect(answer.body == "no")
            // The rest is read and dropped, and the connection serves on.
            client.send(String(repeating: "x", count: 100_000) + Self.get)
            #expect(client.readAnswer()?.body == "x")
        }
    }

    @Test func `a client that has ended its side still gets its answer`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in
                usleep(200_000)
                return ok("late")
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            client.endWriting()
            #expect(client.readAnswer()?.body == "late")
            #expect(client.readToEnd().isEmpty)
        }
    }

    @Test func `a large answer to a slow reader is whole, and holds the upstream back`() async throws {
        try await ProxyFixture.with { fixture in
            let size = 30_000_000
            let sent = Counter()
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard socket.readHead() != nil else { return }
                socket.send("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n")
                let piece = [UInt8](repeating: 1, count: 100_000)
                for _ in 0..<(size / piece.count) {
                    guard socket.send(piece) else { return }
                    sent.add(piece.count)
                }
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            try await Task.sleep(for: .milliseconds(500))
            // Far less than all of it is under way: the proxy holds one piece, the kernel the rest.
            #expect(sent.value < size)
            #expect(try #require(client.readHead()).contains("\(size)"))
            var read = 0
            while read < size {
                let count = client.read(min(1_000_000, size - read)).count
                if count == 0 { break }
                read += count
            }
            #expect(read == size)
        }
    }

    @Test func `a tunnel carries bytes both ways, early ones too, and each side's end`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard socket.readHead() != nil else { return }
                socket.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst"
                )
                let received = String(decoding: socket.readToEnd(), as: UTF8.self)
                socket.send("got \(received)")
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly "
            )
            let head = TestAnswer(head: try #require(client.readHead()))
            #expect(head.status == 101)
            #expect(head.field("upgrade") == "websocket")
            #expect(head.field("connection") == "Upgrade")
            #expect(String(decoding: client.read(5), as: UTF8.self) == "first")
            #expect(fixture.app.activity.openTunnels == 1)
            #expect(fixture.app.activity.runningRequests == 0)
            client.send("late")
            client.endWriting()
            #expect(String(decoding: client.readToEnd(), as: UTF8.self) == "got early late")
            #expect(await fixture.wait { fixture.app.activity.isIdle })
            #expect(fixture.observer.ended.first?.wasTunnel == true)
        }
    }

    @Test func `an answer of 101 that nobody asked for is a bad gateway`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            #expect(client.readAnswer()?.status == 502)
        }
    }

    @Test func `events of a stream arrive one by one`() async throws {
        try await ProxyFixture.with { fixture in
            let upstream = try TestUpstream(path: fixture.socketPath) { socket, _ in
                guard socket.readHead() != nil else { return }
                socket.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                for index in 0..<3 {
                    socket.send("data: \(index)\n\n")
                    // The next one only after the client has seen this one.
                    usleep(50_000)
                }
            }
            defer { upstream.stop() }
            let client = try fixture.connect()
            client.send(Self.get)
            #expect(client.readHead() != nil)
            for index in 0..<3 {
                #expect(String(decoding: client.read(9), as: UTF8.self) == "data: \(index)\n\n")
            }
            #expect(client.readToEnd().isEmpty)
        }
    }

    @Test func `requests reach an upstream over TCP, from IPv6 too`() async throws {
        let upstream = try TestUpstream.answering(nil) { head, _ in
            ok(TestAnswer(head: head).field("forwarded") ?? "")
        }
        defer { upstream.stop() }
        try await ProxyFixture.with(
            configure: { $0.listeners = [.init(address: "::1"), .init(address: "127.0.0.1")] },
            router: { app, _ in
                NameRouter(
                    [:],
                    otherwise: .forward(
                        Upstream(app: app, address: .tcp(host: "127.0.0.1", port: upstream.port))
                    )
                )
            }
        ) { fixture in
            let client = try TestSocket.connect6(port: fixture.proxy.addresses[0].port)
            client.send(Self.get)
            #expect(client.readAnswer()?.body == "for=\"[::1]\";host=\"a\";proto=http")
            let other = try TestSocket.connect(port: fixture.proxy.addresses[1].port)
            other.send(Self.get)
            #expect(other.readAnswer()?.body == "for=127.0.0.1;host=\"a\";proto=http")
        }
    }
}

final class Counter: Sendable {
    private let number = Atomic<Int>(0)
    func add(_ amount: Int) { number.add(amount, ordering: .relaxed) }
    var value: Int { number.load(ordering: .relaxed) }
}
