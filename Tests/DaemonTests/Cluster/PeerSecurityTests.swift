import Control
@testable import Daemon
import Foundation
import Testing

/// Hosts that speak to each other with TLS.
@Suite(.serialized) struct PeerSecurityTests {
    @Test func `requests, WebSockets, routes and moves pass between hosts with certificates`() async throws {
        try await Authority.with { authority in
            for host in ["a", "b"] { try await authority.issue(host, names: ["\(host).hosts.test"]) }
            try await ClusterFixture.with(["a", "b"]) {
                $0.cluster?.tls = authority.certificate(of: $0.host)
            } _: { cluster in
                let (a, b) = (try cluster["a"], try cluster["b"])
                let app = try await cluster.specification("witness", Apps.witness)
                try await cluster.adopt(app, on: a)
                // The other host hears of the routes from this one alone.
                try await cluster.publish([app.app: a], to: [a])
                b.daemon.membership?.directory.learn(a.route)
                try await HostFixture.wait("b has asked for the routes") {
                    b.daemon.membership?.generation == a.daemon.membership?.generation
                }
                for index in 0..<20 {
                    let answer = try await b.send("POST", "/?id=\(index)", to: "witness")
                    #expect(answer.status == 200)
                    #expect(answer.headers["served-by"] == "a")
                    #expect(answer.headers["peer-generation"] == nil)
                }
                let socket = try TestWebSocket(host: "witness.localhost", port: b.port, path: "/live")
                for _ in 0..<20 { #expect(try socket.echo("hello") == "hello") }
                _ = try await cluster.move(app, from: a, to: b, epoch: 1)
                let (code, _) = try socket.waitForClose()
                #expect(code == 1012)
                #expect(try await a.send(to: "witness").headers["served-by"] == "b")
                // Nothing of it is to be had without TLS.
                await #expect(throws: (any Error).self) {
                    try await HTTPClient.send(host: "witness.localhost", port: a.peer.port, timeout: 10)
                }
            }
        }
    }

    @Test func `a host with a certificate of another authority reaches nobody`() async throws {
        try await Authority.with { authority in
            for host in ["a", "b"] { try await authority.issue(host, names: ["\(host).hosts.test"]) }
            try await Authority.with { stranger in
                try await stranger.issue("c", names: ["c.hosts.test"])
                try await ClusterFixture.with(["a", "b", "c"]) {
                    let own = $0.host.rawValue == "c" ? stranger : authority
                    $0.cluster?.tls = own.certificate(of: $0.host)
                    // It believes the others, who do not believe it.
                    $0.cluster?.tls?.authority = authority.folder.appending(path: "ca.pem")
                    $0.cluster?.peers.holdTime = .seconds(3)
                } _: { cluster in
                    let (a, b, c) = (try cluster["a"], try cluster["b"], try cluster["c"])
                    let app = try await cluster.specification("witness", Apps.witness)
                    try await cluster.adopt(app, on: a)
                    try await cluster.publish([app.app: a])
                    #expect(try await b.send(to: "witness").status == 200)
                    for method in ["GET", "POST"] {
                        let answer = try await c.send(method, "/?id=\(method)", to: "witness")
                        #expect([502, 503].contains(answer.status), "\(answer)")
                    }
                }
            }
        }
    }

    @Test func `what is wrong with a certificate between hosts is said`() async throws {
        try await Authority.with { authority in
            await #expect(throws: MartletError.self) {
                try await ClusterFixture.with(["a"]) {
                    $0.cluster?.tls = authority.certificate(of: $0.host)
                } _: { _ in
                }
            }
        }
    }
}

extension Authority {
    fileprivate func certificate(of host: HostID) -> PeerCertificate {
        PeerCertificate(
            chain: folder.appending(path: "\(host).pem"),
            key: folder.appending(path: "\(host).key"),
            authority: folder.appending(path: "ca.pem")
        )
    }
}

extension PeerDirectory {
    /// As if an earlier table had named the host.
    fileprivate func learn(_ route: RouteHost) { _ = peer(route.id, at: route.peer) }
}
