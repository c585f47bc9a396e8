import Foundation
import Proxy
import ProxyTLS
import Testing

@Suite("TLS between peers")
struct PeerTLSTests {
    @Test func `requests and their bodies pass on a kept connection`() async throws {
        try await PeerFixture.with { fixture in
            let file = fixture.folder.appending(path: "body")
            for size in [0, 1, 70_000, 3_000_000] {
                try Data(repeating: 1, count: size).write(to: file)
                let output = try await fixture.curl("/x", "--data-binary", "@\(file.path)", "-H", "Expect:")
                #expect(output.hasPrefix("POST /x HTTP/1.1\r\n"), "\(output.prefix(200))")
                #expect(output.hasSuffix("body: \(size)\n"), "\(output.suffix(200))")
                #expect(output.contains("X-Forwarded-For: 127.0.0.1\r\n"))
                #expect(output.contains("X-Forwarded-Proto: http\r\n"), "what the client used")
                #expect(!output.lowercased().contains("peer-"))
                let answer = try await fixture.curl(
                    "/bytes/\(size)",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code} %{size_download}"
                )
                #expect(answer == "200 \(size)")
            }
            let client = try RawClient(port: fixture.port)
            for _ in 0..<50 {
                client.send("GET /bytes/5 HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(client.read(to: "xxxxx").hasPrefix("HTTP/1.1 200 "))
            }
            #expect(fixture.owner.metrics.acceptedConnections == 1)
            #expect(fixture.failures.all.isEmpty)
        }
    }

    @Test func `WebSockets pass in both directions, and end with either side`() async throws {
        try await PeerFixture.with { fixture in
            for _ in 0..<2 {
                let client = try RawClient(port: fixture.port)
                client.send(
                    "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                )
                #expect(client.read(to: "\r\n\r\n").hasPrefix("HTTP/1.1 101 "))
                for index in 0..<100 {
                    client.send("word \(index).")
                    #expect(client.read(to: ".") == "word \(index).")
                }
            }
            for _ in 0..<6000 where fixture.app.activity.openTunnels > 0 {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(fixture.app.activity.isIdle)
            let client = try RawClient(port: fixture.port)
            client.send(
                "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            #expect(client.read(to: "\r\n\r\n").hasPrefix("HTTP/1.1 101 "))
            fixture.owner.endTunnels(of: fixture.app)
            #expect(client.isAtEnd)
        }
    }

    @Test func `nobody is let in without a certificate of the authority and the secret`() async throws {
        try await PeerFixture.with { fixture in
            func shown(_ name: String) -> [String] {
                let path = fixture.folder.appending(path: name).path
                return ["--cert", "\(path).pem", "--key", "\(path).key"]
            }
            let secret = "Peer-Authorization: \(PeerFixture.secret)"
            let without = try await fixture.curlOwner("-H", secret)
            #expect([35, 52, 56].contains(without.status), "\(without)")
            let bad = shown("bad/entry")
            let stranger = try await fixture.curlOwner(bad[0], bad[1], bad[2], bad[3], "-H", secret)
            #expect([35, 52, 56].contains(stranger.status), "\(stranger)")
            let plain = try RawClient(port: fixture.peerPort)
            plain.send("GET /x HTTP/1.1\r\nHost: a\r\n\(secret)\r\n\r\n")
            #expect(!plain.read(to: "\r\n\r\n").contains("HTTP/1.1"))
            #expect(fixture.owner.metrics.acceptedConnections == 0)
            let good = shown("good/entry")
            let noSecret = try await fixture.curlOwner(good[0], good[1], good[2], good[3], "--http2")
            #expect(noSecret.output.contains("peer_unauthenticated"), "\(noSecret)")
            let peer = try await fixture.curlOwner(
                good[0],
                good[1],
                good[2],
                good[3],
                "-H",
                secret,
                "--http2"
            )
            #expect(peer.output.hasPrefix("GET /x HTTP/1.1\r\n"), "\(peer)")
        }
    }

    @Test func `a peer with a certificate of another authority gets nothing`() async throws {
        try await PeerFixture.with(owner: "bad") { fixture in
            let output = try await fixture.curl("/x", "--data", "x", "-w", " %{http_code}")
            #expect(output.contains("upstream_refused"), "\(output)")
            #expect(output.hasSuffix(" 502"))
            #expect(fixture.router.failures == [.refused], "the request has not left: it may go elsewhere")
            #expect(fixture.failures.all.count == 1)
            #expect(fixture.owner.metrics.acceptedConnections == 0)
        }
        try await PeerFixture.with(entry: "bad") { fixture in
            let output = try await fixture.curl("/x", "--data", "x", "-w", " %{http_code}")
            #expect(output.hasSuffix(" 502"), "\(output)")
            #expect(fixture.owner.metrics.acceptedConnections == 0)
        }
    }

    @Test func `a peer that is not there, or does not speak TLS, is a refused connection`() async throws {
        try await PeerFixture.with { fixture in
            // It takes connections and says nothing.
            let silent = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            let handle = FileHandle(fileDescriptor: silent, closeOnDealloc: true)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let isListening = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(silent, $0, size) == 0 && listen(silent, 8) == 0
                        && getsockname(silent, $0, &size) == 0
                }
            }
            try #require(isListening)
            fixture.router.sendTo(port: UInt16(bigEndian: address.sin_port))
            #expect(try await fixture.curl("/x", "--data", "x").contains("upstream_refused"))
            fixture.router.sendTo(port: fixture.port)
            #expect(try await fixture.curl("/x", "--data", "x").contains("upstream_refused"))
            try handle.close()
            fixture.router.sendTo(port: UInt16(bigEndian: address.sin_port))
            #expect(try await fixture.curl("/x", "--data", "x").contains("upstream_refused"))
            #expect(fixture.router.failures == [.refused, .refused, .refused])
            fixture.router.sendTo(port: fixture.peerPort)
            #expect(try await fixture.curl("/x", "--data", "x").hasPrefix("POST /x "))
        }
    }

    @Test func `certificates are replaced without a restart`() async throws {
        try await PeerFixture.with(entry: "bad") { fixture in
            #expect(try await fixture.curl("/x").contains("\"error\""))
            for end in ["pem", "key"] {
                let file = fixture.folder.appending(path: "bad/entry.\(end)")
                try Data(contentsOf: fixture.folder.appending(path: "good/entry.\(end)")).write(to: file)
            }
            try fixture.connector.reload()
            #expect(try await fixture.curl("/x").hasPrefix("GET /x "))
            try Data("nonsense".utf8).write(to: fixture.folder.appending(path: "bad/entry.key"))
            #expect(throws: CertificateError.self) { try fixture.connector.reload() }
            #expect(try await fixture.curl("/x").hasPrefix("GET /x "))
        }
    }

    @Test func `a link that is cut ends what is on it, and the next request makes a new connection`()
        async throws
    {
        try await PeerFixture.with(silence: .seconds(4)) { fixture in
            let relay = try LinkRelay(to: fixture.peerPort)
            defer { relay.stop() }
            fixture.router.sendTo(port: relay.port)
            #expect(try await fixture.curl("/x", "--data", "x").hasPrefix("POST /x "))
            relay.cutNear()
            let answer = try await fixture.curl("/x", "--data", "x", "-w", " %{http_code}")
            #expect(answer.contains("upstream_closed"), "\(answer)")
            #expect(answer.hasSuffix(" 502"))
            #expect(fixture.router.failures == [.closedBeforeAnswer])
            #expect(fixture.failures.all.first?.contains("acknowledged nothing") == true)
            let client = try RawClient(port: fixture.port)
            client.send(
                "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            #expect(client.read(to: "\r\n\r\n").hasPrefix("HTTP/1.1 101 "))
            relay.cutNear()
            #expect(client.isAtEnd, "probes find it while nothing is sent")
        }
    }

    @Test func `a peer that vanished leaves nothing open at the other`() async throws {
        try await PeerFixture.with(silence: .seconds(2)) { fixture in
            let relay = try LinkRelay(to: fixture.peerPort)
            defer { relay.stop() }
            fixture.router.sendTo(port: relay.port)
            let client = try RawClient(port: fixture.port)
            client.send(
                "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            #expect(client.read(to: "\r\n\r\n").hasPrefix("HTTP/1.1 101 "))
            #expect(fixture.owner.metrics.openConnections == 1)
            relay.cutFar()
            client.send("something that is sent back.")
            for _ in 0..<6000 where fixture.owner.metrics.openConnections > 0 {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(fixture.owner.metrics.openConnections == 0)
        }
    }
}
