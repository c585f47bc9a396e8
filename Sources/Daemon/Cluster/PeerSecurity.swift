import Control
import Foundation
import Logging
import Proxy
import ProxyTLS
import Synchronization

/// TLS between this host and others: connections to them, and where they connect.
final class PeerSecurity: Sendable {
    let connector: PeerTLS
    private let certificate: PeerCertificate
    private let logger: Logger
    private let state = Mutex(State())

    private struct State {
        var front: TLSFront?
        var watch: CertificateWatch?
    }

    /// - Throws: ``MartletError`` with code `bad_request` when a file cannot be used.
    init(_ certificate: PeerCertificate, logger: Logger) throws {
        self.certificate = certificate
        self.logger = logger
        do {
            connector = try PeerTLS(
                PeerTLS.Configuration(
                    certificate: Self.files(certificate),
                    authorityPath: certificate.authority.path
                )
            ) { address, reason in
                logger.warning(
                    "another host was not reached",
                    metadata: ["address": "\(address)", "error": "\(reason)"]
                )
            }
        } catch let error as CertificateError {
            throw MartletError(.badRequest, error.description, cause: error)
        }
    }

    /// Begins to take connections of other hosts.
    ///
    /// - Throws: ``MartletError`` when the address cannot be listened on.
    func start(_ listener: HostConfiguration.Listener, group: PeerGroup, proxy: ProxyServer) async throws {
        let place = "\(listener.address):\(listener.port)"
        do {
            var settings = TLSFront.Configuration(
                addresses: [ProxyAddress(address: listener.address, port: listener.port)],
                certificates: [Self.files(certificate)]
            )
            settings.peers = TLSFront.Peers(group: group, authorityPath: certificate.authority.path)
            let watch = CertificateWatch(
                [certificate.chain, certificate.key, certificate.authority],
                interval: certificate.reloadInterval,
                logger: logger
            ) { [self] in
                try connector.reload()
                try state.withLock { $0.front }?.reload()
            }
            let front = try TLSFront(settings, proxy: proxy)
            state.withLock { $0 = State(front: front, watch: watch) }
            try await front.start()
        } catch let error as CertificateError {
            throw MartletError(.badRequest, error.description, cause: error)
        } catch {
            throw MartletError(
                .conflict,
                "listen for other hosts on \(place): \(error); choose another port, or stop what listens there",
                cause: error
            )
        }
    }

    /// Where other hosts connect.
    var port: UInt16? { state.withLock { $0.front }?.addresses.first?.port }

    func reloadIfChanged() { state.withLock { $0.watch }?.reloadIfChanged() }

    /// The proxy is to be drained at the same time.
    func drain(deadline: Duration) async { await state.withLock { $0.front }?.drain(deadline: deadline) }

    func stop() async {
        await state.withLock { $0.front }?.stop()
        await connector.stop()
    }

    private static func files(_ certificate: PeerCertificate) -> CertificateFiles {
        CertificateFiles(chainPath: certificate.chain.path, keyPath: certificate.key.path)
    }
}
