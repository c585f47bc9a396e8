import Foundation
import Proxy
import ProxyTLS
import Synchronization
import TestSupport

/// Two proxies of a group with TLS between them: what comes to `entry` goes to `owner`, and from there to an app that
/// tells what it got.
struct PeerFixture {
    static let secret = "correct-horse-battery-staple"

    let folder: URL
    let entry: ProxyServer
    let owner: ProxyServer
    let front: TLSFront
    let connector: PeerTLS
    let router: PeerRouter
    let app: App
    let failures: Failures

    var port: UInt16 { entry.addresses.first?.port ?? 0 }
    var peerPort: UInt16 { front.addresses.first?.port ?? 0 }

    /// What the connector was told to say of connections that it could not make.
    final class Failures: Sendable {
        private let reasons = Mutex<[String]>([])
        var all: [String] { reasons.withLock { $0 } }
        func add(_ reason: String) { reasons.withLock { $0.append(reason) } }
    }

    /// Calls `body` with two proxies that believe the authority "good".
    ///
    /// `entry`, `owner`: the authorities whose certificates they show. `silence`: how long each lets the other acknowledge
    /// nothing.
    static func with(
        entry entryAuthority: String = "good",
        owner ownerAuthority: String = "good",
        silence: Duration = .seconds(60),
        _ body: (PeerFixture) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "peer-tls-\(UUID().uuidString.prefix(8))"
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }  // Nothing depends on it.
        for name in ["good", "bad"] {
            let own = folder.appending(path: name)
            try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
            let authority = try await CertificateAuthority(own)
            for host in ["entry", "owner"] { try await authority.issue(host, names: [host]) }
        }
        let upstream = try EchoUpstream(path: folder.appending(path: "up.sock").path)
        defer { upstream.stop() }
        let app = App(name: "app")
        let worker = RouteDecision.forward(Upstream(app: app, address: .unix(path: upstream.path)))
        let owner = try ProxyServer(ProxyConfiguration(), router: NameRouter([:], otherwise: worker))
        try owner.start()
        var settings = TLSFront.Configuration(
            addresses: [ProxyAddress(address: "127.0.0.1", port: 0)],
            certificates: [files("owner", ownerAuthority, folder)]
        )
        settings.peers = TLSFront.Peers(
            group: try PeerGroup(secret: secret),
            authorityPath: folder.appending(path: "good/ca.pem").path
        )
        settings.silence = silence
        let front = try TLSFront(settings, proxy: owner)
        try await front.start()
        let failures = Failures()
        var configuration = PeerTLS.Configuration(
            certificate: files("entry", entryAuthority, folder),
            authorityPath: folder.appending(path: "good/ca.pem").path
        )
        configuration.connectTime = .seconds(5)
        configuration.silence = silence
        let connector = try PeerTLS(configuration) { failures.add($1) }
        let router = PeerRouter(
            app: app,
            group: try PeerGroup(secret: secret, connector: connector),
            port: front.addresses.first?.port ?? 0
        )
        let entry = try ProxyServer(
            ProxyConfiguration(listeners: [.init(address: "127.0.0.1", port: 0)]),
            router: router
        )
        try entry.start()
        let fixture = PeerFixture(
            folder: folder,
            entry: entry,
            owner: owner,
            front: front,
            connector: connector,
            router: router,
            app: app,
            failures: failures
        )
        var failure: (any Error)?
        do { try await body(fixture) } catch { failure = error }
        for proxy in [entry, owner] {
            proxy.stop()
            await proxy.stopped()
        }
        await front.stop()
        await connector.stop()
        if let failure { throw failure }
    }

    private static func files(_ name: String, _ authority: String, _ folder: URL) -> CertificateFiles {
        CertificateFiles(
            chainPath: folder.appending(path: "\(authority)/\(name).pem").path,
            keyPath: folder.appending(path: "\(authority)/\(name).key").path
        )
    }

    /// curl to the entry, without TLS.
    func curl(_ path: String, _ arguments: String...) async throws -> String {
        try await TLSFixture.runAside(
            ["curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*"] + arguments
                + ["http://127.0.0.1:\(port)\(path)"]
        ).output
    }

    /// curl to the owner's front for peers; 52 and 56 are curl's for a connection that ended, 35 for a failed handshake.
    func curlOwner(_ arguments: String...) async throws -> (status: Int32, output: String) {
        try await TLSFixture.runAside(
            ["curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--insecure"]
                + arguments + ["https://127.0.0.1:\(peerPort)/x"]
        )
    }
}

/// Sends everything to a peer, and notes how it failed.
final class PeerRouter: Router {
    private let peer: Upstream
    private let state = Mutex<(failures: [UpstreamFailure], peer: Upstream)?>(nil)
    private let app: App
    private let group: PeerGroup

    init(app: App, group: PeerGroup, port: UInt16) {
        self.app = app
        self.group = group
        peer = Self.upstream(app, group, port)
        state.withLock { $0 = ([], peer) }
    }

    var failures: [UpstreamFailure] { state.withLock { $0?.failures ?? [] } }

    func sendTo(port: UInt16) { state.withLock { $0?.peer = Self.upstream(app, group, port) } }

    func route(_ request: borrowing RoutedRequest) -> RouteDecision {
        .forward(state.withLock { $0?.peer } ?? peer)
    }

    func failed(
        _ failure: UpstreamFailure,
        of upstream: Upstream,
        request: borrowing RoutedRequest
    ) -> FailureDecision {
        state.withLock { $0?.failures.append(failure) }
        return .answer
    }

    private static func upstream(_ app: App, _ group: PeerGroup, _ port: UInt16) -> Upstream {
        var options = Upstream.Options()
        options.peers = group
        return Upstream(app: app, address: .tcp(host: "127.0.0.1", port: port), options: options)
    }
}

/// A connection that reads as far as it is asked to.
final class RawClient {
    private let descriptor: Int32

    init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw CocoaError(.fileReadUnknown) }
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func send(_ text: String) {
        _ = Array(text.utf8).withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
    }

    /// Reads until what was read ends with `end`, or the connection does.
    func read(to end: String) -> String {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while !bytes.suffix(end.utf8.count).elementsEqual(end.utf8), recv(descriptor, &byte, 1, 0) == 1 {
            bytes.append(byte)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Whether the connection ends, within a minute.
    var isAtEnd: Bool {
        var byte: UInt8 = 0
        let got = recv(descriptor, &byte, 1, 0)
        return got == 0 || (got < 0 && errno != EAGAIN)
    }
}
