import Control
import Foundation
import Logging
import Proxy
import ProxyTLS

/// TLS and HTTP/2 in front of the host's ingress, with certificates that are read again when their files change.
final class TLSIngress: Sendable {
    private let front: TLSFront
    private let watch: CertificateWatch

    /// - Throws: ``MartletError`` when a certificate cannot be used.
    init(_ configuration: HostConfiguration.TLS, proxy: ProxyServer, logger: Logger) throws {
        var settings = TLSFront.Configuration(
            addresses: configuration.listeners.map { ProxyAddress(address: $0.address, port: $0.port) },
            certificates: configuration.certificates.map {
                CertificateFiles(chainPath: $0.chain.path, keyPath: $0.key.path)
            }
        )
        settings.threads = min(max(ProcessInfo.processInfo.activeProcessorCount, 1), 4)
        do {
            let front = try TLSFront(settings, proxy: proxy)
            self.front = front
            watch = CertificateWatch(
                configuration.certificates.flatMap { [$0.chain, $0.key] },
                interval: configuration.reloadInterval,
                logger: logger
            ) { try front.reload() }
        } catch let error as CertificateError {
            throw MartletError(.badRequest, error.description, cause: error)
        }
    }

    /// Listens.
    ///
    /// - Throws: ``MartletError`` when an address cannot be listened on; then everything is closed.
    func start(_ listeners: [HostConfiguration.Listener]) async throws {
        do {
            try await front.start()
        } catch {
            let places = listeners.map { "\($0.address):\($0.port)" }.joined(separator: ", ")
            throw MartletError(
                .conflict,
                "listen with TLS on \(places): \(error); choose another port, or stop what listens there",
                cause: error
            )
        }
    }

    /// The port of the first listener.
    var port: UInt16? { front.addresses.first?.port }

    /// See ``CertificateWatch``.
    func reloadIfChanged() { watch.reloadIfChanged() }

    /// See ``TLSFront/drain(deadline:)``; the proxy is to be drained at the same time.
    func drain(deadline: Duration) async { await front.drain(deadline: deadline) }

    func stop() async { await front.stop() }
}
