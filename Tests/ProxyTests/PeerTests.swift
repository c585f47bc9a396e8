import Proxy
import Synchronization
import Testing

@Suite("Peers")
struct PeerTests {
    private static let secret = "correct-horse-battery-staple"
    private static let get = "GET /p HTTP/1.1\r\nHost: app.localhost\r\n\r\n"

    @Test func `a request through a peer reaches the app as if it had come directly`() async throws {
        try await Self.withEntryAndOwner(entryAddress: "::1") { entry, owner in
            let upstream = try TestUpstream.answering(owner.socketPath) { _, body in
                ok("from the app \(body)")
            }
            defer { upstream.stop() }
            let client = try TestSocket.connect6(port: entry.port)
            for index in 0..<20 {
                client.send(
                    "POST /a?b=\(index) HTTP/1.1\r\nHost: app.localhost:8080\r\nX-Request-Id: mine-\(index)\r\n"
                        + "X-Forwarded-For: 6.6.6.6\r\nPeer-Hops: 7\r\nPeer-Authorization: \(Self.secret)\r\n"
                        + "Content-Length: 2\r\n\r\nhi"
                )
                let answer = try #require(client.readAnswer())
                #expect(answer.body == "from the app hi")
                #expect(!answer.head.lowercased().contains("peer-"))
            }
            let head = TestAnswer(head: try #require(upstream.receivedHeads.last))
            #expect(head.lines.first == "POST /a?b=19 HTTP/1.1")
            #expect(head.fields("host") == ["app.localhost:8080"])
            #expect(head.fields("x-request-id") == ["mine-19"])
            #expect(head.fields("x-forwarded-for") == ["::1"])
            #expect(head.fields("x-forwarded-host") == ["app.localhost:8080"])
            #expect(head.fields("x-forwarded-proto") == ["http"])
            #expect(head.fields("forwarded") == ["for=\"[::1]\";host=\"app.localhost:8080\";proto=http"])
            #expect(!head.head.lowercased().contains("peer-"))
            #expect(owner.proxy.metrics.acceptedConnections == 1, "the peers' connection is kept")
            let seen = try #require(owner.router.seen.last)
            #expect(seen == Seen(hops: 1, client: "::1", isSecure: false, generation: nil))
            #expect(await entry.wait { entry.app.activity.isIdle && owner.app.activity.isIdle })
        }
    }

    @Test func `a peers' listener takes nothing without the secret`() async throws {
        let peers = try PeerGroup(secret: Self.secret, alsoAccepted: ["an-older-secret-of-the-group"])
        try await ProxyFixture.with(configure: { $0.listeners[0].peers = peers }) { fixture in
            let upstream = try TestUpstream.answering(fixture.socketPath) { _, _ in ok("inside") }
            defer { upstream.stop() }
            func ask(_ lines: String) throws -> TestAnswer {
                let client = try fixture.connect()
                client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\(lines)\r\nx")
                let answer = try #require(client.readAnswer())
                if answer.status >= 400 {
                    #expect(client.readToEnd().isEmpty, "and the connection is closed")
                }
                return answer
            }
            for lines in [
                "", "Peer-Authorization: \r\n", "Peer-Authorization: correct-horse-battery-stapl\r\n",
                "Peer-Authorization: correct-horse-battery-staplf\r\n",
                "Peer-Authorization: \(Self.secret)\r\nPeer-Authorization: \(Self.secret)\r\n",
                "Peer_Authorization: \(Self.secret)\r\n", "Authorization: \(Self.secret)\r\n",
            ] {
                let answer = try ask(lines)
                #expect(answer.status == 401, "\(lines)")
                #expect(answer.body.contains("peer_unauthenticated"))
                #expect(!answer.body.contains("horse"))
            }
            for lines in [
                "Peer-Hops: 0\r\n", "Peer-Hops: 100\r\n", "Peer-Hops: x\r\n", "Peer-Generation: -1\r\n",
            ] {
                #expect(try ask("Peer-Authorization: \(Self.secret)\r\n\(lines)").status == 400, "\(lines)")
            }
            #expect(upstream.receivedHeads.isEmpty)
            #expect(try ask("peer-authorization:   \(Self.secret) \r\n").status == 200)
            #expect(try ask("Peer-Authorization: an-older-secret-of-the-group\r\n").status == 200)
            try peers.replaceSecret(with: "the-new-secret-of-the-group", alsoAccepted: [])
            #expect(try ask("Peer-Authorization: \(Self.secret)\r\n").status == 401)
            #expect(try ask("Peer-Authorization: the-new-secret-of-the-group\r\n").status == 200)
            #expect(throws: ProxyError.self) { try peers.replaceSecret(with: "short", alsoAccepted: []) }
            #expect(throws: ProxyError.self) { try PeerGroup(secret: "with a space in the middle") }
        }
    }

    @Test func `a circle of peers ends after as many hops as are allowed`() async throws {
        try await Self.withEntryAndOwner { entry, owner in
            owner.router.set { _ in .forward(owner.peer(at: entry.peerPort)) }
            let client = try TestSocket.connect(port: entry.port)
            client.send(Self.get)
            let answer = try #require(client.readAnswer())
            #expect(answer.status == 508)
            #expect(answer.body.contains("too_many_hops"))
            #expect(answer.field("retry-after") != nil)
            #expect(!answer.head.lowercased().contains("peer-"))
            #expect(entry.router.seen.map(\.hops) == [0, 2])
            #expect(owner.router.seen.map(\.hops) == [1, 3])
            #expect(
                owner.router.failures == [.tooManyHops, .tooManyHops],
                "each proxy's router may still know better"
            )
        }
    }

    @Test func `a host that is not the owner says so, and the request waits for the right one`() async throws
    {
        try await Self.withEntryAndOwner { entry, owner in
            owner.router.set { app in .misdirected(app) }
            entry.router.setFailed { app in .hold(app) }
            let client = try TestSocket.connect(port: entry.port)
            client.send("POST /p HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 4\r\n\r\nbody")
            #expect(await entry.wait { entry.app.activity.heldRequests == 1 })
            #expect(entry.router.failures == [.misdirected])
            let upstream = try TestUpstream.answering(entry.socketPath) { _, body in ok("here: \(body)") }
            defer { upstream.stop() }
            entry.router.set { app in .forward(Upstream(app: app, address: .unix(path: entry.socketPath))) }
            entry.proxy.retryHeld(entry.app)
            #expect(client.readAnswer()?.body == "here: body")
            #expect(await entry.wait { entry.app.activity.isIdle && owner.app.activity.isIdle })
        }
        try await Self.withEntryAndOwner { entry, owner in
            owner.router.set { app in .misdirected(app) }
            let client = try TestSocket.connect(port: entry.port)
            client.send(Self.get + Self.get)
            for _ in 0..<2 {
                let answer = try #require(client.readAnswer())
                #expect(answer.status == 503)
                #expect(answer.body.contains("misdirected"))
                #expect(!answer.head.lowercased().contains("peer-"))
            }
        }
    }

    @Test func `held requests go to a peer once the router says so`() async throws {
        try await Self.withEntryAndOwner { entry, owner in
            let upstream = try TestUpstream.answering(owner.socketPath) { _, body in ok(body) }
            defer { upstream.stop() }
            let forward = entry.router.decision
            entry.router.set { app in .hold(app) }
            let clients = try (0..<50).map { _ in try TestSocket.connect(port: entry.port) }
            for (index, client) in clients.enumerated() {
                client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\(100 + index)")
            }
            #expect(await entry.wait { entry.app.activity.heldRequests == 50 })
            entry.router.set(forward)
            entry.proxy.retryHeld(entry.app)
            for (index, client) in clients.enumerated() {
                #expect(client.readAnswer()?.body == "\(100 + index)")
            }
        }
    }

    @Test func `a peer that is gone is a refused connection, and the router chooses another`() async throws {
        try await Self.withEntryAndOwner { entry, owner in
            let upstream = try TestUpstream.answering(entry.socketPath) { _, body in ok("other: \(body)") }
            defer { upstream.stop() }
            owner.proxy.stop()
            await owner.proxy.stopped()
            entry.router.setFailed { _ in .retry }
            let client = try TestSocket.connect(port: entry.port)
            // As long as the router answers the same, retrying ends after a few times.
            client.send(Self.get)
            #expect(client.readAnswer()?.status == 502)
            #expect(entry.router.failures == [.refused, .refused, .refused, .refused])
            let gone = entry.router.decision
            let attempts = Atomic<Int>(0)
            entry.router.set { app in
                attempts.add(1, ordering: .relaxed).newValue == 1
                    ? gone(app) : .forward(Upstream(app: app, address: .unix(path: entry.socketPath)))
            }
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            #expect(client.readAnswer()?.body == "other: abc")
        }
    }

    @Test func `WebSockets go through a peer in both directions`() async throws {
        try await Self.withEntryAndOwner { entry, owner in
            let upstream = try TestUpstream(path: owner.socketPath) { socket, upstream in
                guard let head = socket.readHead() else { return }
                upstream.note(head)
                socket.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nPeer-Refusal: x\r\n\r\n"
                )
                while case let bytes = socket.read(5), bytes.count == 5 {
                    socket.send(String(decoding: bytes.reversed(), as: UTF8.self))
                }
            }
            defer { upstream.stop() }
            let client = try TestSocket.connect(port: entry.port)
            client.send("GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            let head = try #require(client.readHead())
            #expect(head.hasPrefix("HTTP/1.1 101 "))
            #expect(!head.lowercased().contains("peer-"))
            for word in ["abcde", "12345"] {
                client.send(word)
                #expect(String(decoding: client.read(5), as: UTF8.self) == String(word.reversed()))
            }
            #expect(entry.app.activity.openTunnels == 1)
            #expect(owner.app.activity.openTunnels == 1)
            client.close()
            #expect(await entry.wait { entry.app.activity.isIdle && owner.app.activity.isIdle })
        }
    }

    @Test func `a newer picture of the routes is told in answers to peers alone`() async throws {
        try await Self.withEntryAndOwner { entry, owner in
            let upstream = try TestUpstream.answering(owner.socketPath) { head, _ in
                ok(
                    "x",
                    extra: head.contains("/lie") ? "Peer-Generation: 99\r\nPeer-Refusal: misdirected\r\n" : ""
                )
            }
            defer { upstream.stop() }
            let client = try TestSocket.connect(port: entry.port)
            func ask(_ path: String) throws {
                client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
                let answer = try #require(client.readAnswer())
                #expect(answer.body == "x")
                #expect(!answer.head.lowercased().contains("peer-"))
            }
            try ask("/")
            entry.peers.generation = 4
            owner.peers.generation = 4
            try ask("/same")
            #expect(owner.router.seen.last?.generation == 4)
            #expect(entry.heard.isEmpty)
            owner.peers.generation = 7
            try ask("/newer")
            #expect(entry.heard == [7])
            try ask("/lie")
            #expect(entry.heard == [7, 7])
            // A client of the owner's own listener sees none of it.
            let direct = try TestSocket.connect(port: owner.port)
            direct.send(Self.get)
            #expect(direct.readAnswer()?.head.lowercased().contains("peer-") == false)
        }
    }

    @Test func `a request that meets a dying worker is sent once more where that is safe`() async throws {
        try await Self.withEntryAndOwner { _, owner in
            owner.router.setFailed { app in .hold(app) }
            let isDying = Atomic<Bool>(true)
            let upstream = try TestUpstream(path: owner.socketPath) { socket, upstream in
                while let head = socket.readHead() {
                    upstream.note(head)
                    if isDying.load(ordering: .relaxed) { return }
                    socket.send(ok("alive"))
                }
            }
            defer { upstream.stop() }
            let client = try TestSocket.connect(port: owner.port)
            client.send(Self.get)
            #expect(await owner.wait { owner.app.activity.heldRequests == 1 })
            isDying.store(false, ordering: .relaxed)
            owner.proxy.retryHeld(owner.app)
            #expect(client.readAnswer()?.body == "alive")
            isDying.store(true, ordering: .relaxed)
            // A second death on the same request is told: the request may be what kills the app.
            let second = try TestSocket.connect(port: owner.port)
            second.send(Self.get)
            #expect(await owner.wait { owner.app.activity.heldRequests == 1 })
            owner.proxy.retryHeld(owner.app)
            let answer = try #require(second.readAnswer())
            #expect(answer.status == 502)
            #expect(answer.body.contains("upstream_closed"))
            // Nor is a request repeated that may have changed something.
            let poster = try TestSocket.connect(port: owner.port)
            poster.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            #expect(poster.readAnswer()?.status == 502)
        }
    }

    @Test func `what waits for an upstream that is given up ends at once`() async throws {
        try await Self.withEntryAndOwner { entry, _ in
            // It takes requests and says nothing, or not all: as a machine that froze does.
            let silent = try TestUpstream(path: entry.socketPath) { socket, upstream in
                while let head = socket.readHead() {
                    upstream.note(head)
                    if head.contains("/begun") {
                        socket.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
                    } else if head.contains("/live") {
                        socket.send(
                            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                        )
                    }
                }
            }
            defer { silent.stop() }
            let other = try TestUpstream.answering(entry.socketPath + "2") { head, _ in
                ok("elsewhere: \(head.split(separator: "\r\n")[0])")
            }
            defer { other.stop() }
            let lost = Upstream(app: entry.app, address: .unix(path: entry.socketPath))
            let kept = Upstream(app: entry.app, address: .unix(path: entry.socketPath + "2"))
            entry.router.set { _ in .forward(lost) }
            entry.router.setFailed { app in .hold(app) }
            func begin(_ request: String) throws -> TestSocket {
                let client = try TestSocket.connect(port: entry.port)
                client.send(request)
                return client
            }
            let reader = try begin(Self.get)
            let writer = try begin("POST /w HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            let uploader = try begin("PUT /u HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
            let begun = try begin("GET /begun HTTP/1.1\r\nHost: a\r\n\r\n")
            let socket = try begin(
                "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            #expect(socket.readHead()?.hasPrefix("HTTP/1.1 101 ") == true)
            #expect(begun.readHead()?.hasPrefix("HTTP/1.1 200 ") == true)
            #expect(await entry.wait { silent.receivedHeads.count == 5 })
            entry.router.set { _ in .forward(kept) }
            let unharmed = try begin(Self.get)
            #expect(unharmed.readAnswer()?.body == "elsewhere: GET /p HTTP/1.1")
            entry.proxy.giveUp(lost)
            #expect(begun.readToEnd().count == 4, "an answer that has begun is cut")
            #expect(socket.readToEnd().isEmpty, "a tunnel ends")
            let answer = try #require(writer.readAnswer())
            #expect(answer.status == 502, "the write may have been done")
            #expect(answer.body.contains("upstream_lost"))
            uploader.send("23456789")
            #expect(await entry.wait { entry.app.activity.heldRequests > 0 })
            entry.proxy.retryHeld(entry.app)
            #expect(reader.readAnswer()?.body == "elsewhere: GET /p HTTP/1.1", "a reading one is sent anew")
            entry.proxy.retryHeld(entry.app)
            #expect(uploader.readAnswer()?.body == "elsewhere: PUT /u HTTP/1.1")
            #expect(await entry.wait { entry.app.activity.isIdle })
            unharmed.send(Self.get)
            #expect(unharmed.readAnswer()?.status == 200)
            #expect(entry.proxy.metrics.apps.first?.upstreamFailures[.lost] == 5)
        }
    }

    // MARK: - Two proxies of a group

    /// What a router was shown.
    struct Seen: Equatable {
        var hops: Int
        var client: String
        var isSecure: Bool
        var generation: Int?
    }

    /// Decides as it is told, and notes what it sees.
    final class TestRouter: Router {
        private struct State {
            var decision: @Sendable (App) -> RouteDecision = { _ in .unknown }
            var failed: @Sendable (App) -> FailureDecision = { _ in .answer }
            var seen: [Seen] = []
            var failures: [UpstreamFailure] = []
        }

        private let app: App
        private let state = Mutex(State())

        init(app: App) { self.app = app }

        var seen: [Seen] { state.withLock { $0.seen } }
        var failures: [UpstreamFailure] { state.withLock { $0.failures } }
        var decision: @Sendable (App) -> RouteDecision { state.withLock { $0.decision } }

        func set(_ decision: @escaping @Sendable (App) -> RouteDecision) {
            state.withLock { $0.decision = decision }
        }

        func setFailed(_ failed: @escaping @Sendable (App) -> FailureDecision) {
            state.withLock { $0.failed = failed }
        }

        func route(_ request: borrowing RoutedRequest) -> RouteDecision {
            let seen = Seen(
                hops: request.peerHops,
                client: request.clientAddress,
                isSecure: request.isSecure,
                generation: request.peerGeneration
            )
            let decision = state.withLock { state in
                state.seen.append(seen)
                return state.decision
            }
            return decision(app)
        }

        func failed(
            _ failure: UpstreamFailure,
            of upstream: Upstream,
            request: borrowing RoutedRequest
        ) -> FailureDecision {
            let failed = state.withLock { state in
                state.failures.append(failure)
                return state.failed
            }
            return failed(app)
        }
    }

    /// A proxy with a listener for clients and one for peers.
    final class Member: Sendable {
        let app = App(name: "app")
        let router: TestRouter
        let peers: PeerGroup
        let proxy: ProxyServer
        let socketPath: String
        private let generations: Heard

        final class Heard: Sendable {
            private let numbers = Mutex<[Int]>([])
            var all: [Int] { numbers.withLock { $0 } }
            func add(_ number: Int) { numbers.withLock { $0.append(number) } }
        }

        init(socketPath: String, address: String) throws {
            let heard = Heard()
            generations = heard
            self.socketPath = socketPath
            peers = try PeerGroup(secret: PeerTests.secret) { generation, _ in heard.add(generation) }
            router = TestRouter(app: app)
            var forPeers = ProxyConfiguration.Listener(address: "127.0.0.1", port: 0)
            forPeers.peers = peers
            proxy = try ProxyServer(
                ProxyConfiguration(listeners: [.init(address: address, port: 0), forPeers]),
                router: router
            )
            try proxy.start()
        }

        var port: UInt16 { proxy.addresses.first?.port ?? 0 }
        var peerPort: UInt16 { proxy.addresses.last?.port ?? 0 }
        var heard: [Int] { generations.all }

        func peer(at port: UInt16) -> Upstream {
            var options = Upstream.Options()
            options.peers = peers
            return Upstream(app: app, address: .tcp(host: "127.0.0.1", port: port), options: options)
        }

        func wait(until condition: () -> Bool) async -> Bool {
            for _ in 0..<9000 {
                if condition() { return true }
                try? await Task.sleep(for: .milliseconds(10))
            }
            return condition()
        }
    }

    /// Two proxies: what comes to `entry` goes to `owner`, which forwards to its socket.
    private static func withEntryAndOwner(
        entryAddress: String = "127.0.0.1",
        _ body: (_ entry: Member, _ owner: Member) async throws -> Void
    ) async throws {
        try await ProxyFixture.withFolder { folder in
            let entry = try Member(socketPath: folder + "/entry.sock", address: entryAddress)
            let owner = try Member(socketPath: folder + "/owner.sock", address: "127.0.0.1")
            let ownerAsPeer = entry.peer(at: owner.peerPort)
            entry.router.set { _ in .forward(ownerAsPeer) }
            let worker = Upstream(app: owner.app, address: .unix(path: owner.socketPath))
            owner.router.set { _ in .forward(worker) }
            var failure: (any Error)?
            do { try await body(entry, owner) } catch { failure = error }
            for member in [entry, owner] {
                // The loops hold the router, which may hold an upstream of the group.
                member.router.set { _ in .unknown }
                member.proxy.stop()
                await member.proxy.stopped()
            }
            if let failure { throw failure }
        }
    }
}
