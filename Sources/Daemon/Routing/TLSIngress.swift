import Control
import Foundation
import Logging
import Proxy
import ProxyTLS
import Synchronization

/// TLS and HTTP/2 in front of the host's ingress, with certificates that are read again when their files change.
final class TLSIngress: Sendable {
    private let front: TLSFront
    private let files: [String]
    private let interval: Duration
    private let logger: Logger
    private let state: Mutex<State>

    private struct State {
        /// What the files were when the certificates in use were read.
        var loaded: [Signature?]
        /// What they were when reading them failed, so that this is told once.
        var failed: [Signature?]?
        var checkedAt = ContinuousClock.now
    }

    /// Differs whenever a file has been written or replaced.
    private struct Signature: Equatable {
        let inode: UInt64
        let bytes: Int
        let modified: Date
    }

    /// - Throws: ``MartletError`` when a certificate cannot be used.
    init(_ configuration: HostConfiguration.TLS, proxy: ProxyServer, logger: Logger) throws {
        files = configuration.certificates.flatMap { [$0.chain.path, $0.key.path] }
        interval = configuration.reloadInterval
        self.logger = logger
        state = Mutex(State(loaded: files.map(Self.signature)))
        var settings = TLSFront.Configuration(
            addresses: configuration.listeners.map { ProxyAddress(address: $0.address, port: $0.port) },
            certificates: configuration.certificates.map {
                CertificateFiles(chainPath: $0.chain.path, keyPath: $0.key.path)
            }
        )
        settings.threads = min(max(ProcessInfo.processInfo.activeProcessorCount, 1), 4)
        do {
            front = try TLSFront(settings, proxy: proxy)
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

    /// Reads the certificates again if their files have changed; where they are not good, the earlier ones stay.
    func reloadIfChanged(now: ContinuousClock.Instant = .now) {
        let isDue = state.withLock { state in
            guard now - state.checkedAt >= interval else { return false }
            state.checkedAt = now
            return true
        }
        guard isDue else { return }
        let current = files.map(Self.signature)
        let isNews = state.withLock { $0.loaded != current && $0.failed != current }
        guard isNews else { return }
        do {
            try front.reload()
            state.withLock { state in
                state.loaded = current
                state.failed = nil
            }
            logger.notice("certificates were read again", metadata: ["files": "\(files)"])
        } catch {
            state.withLock { $0.failed = current }
            logger.error(
                "certificates have changed but cannot be used; the earlier ones are served on",
                metadata: ["error": "\(error)"]
            )
        }
    }

    /// See ``TLSFront/drain(deadline:)``; the proxy is to be drained at the same time.
    func drain(deadline: Duration) async { await front.drain(deadline: deadline) }

    func stop() async { await front.stop() }

    private static func signature(_ path: String) -> Signature? {
        // Through links: what counts is the file behind them.
        let path = URL(filePath: path).resolvingSymlinksInPath().path
        // A file that is not there has none.
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
            let inode = (attributes[.systemFileNumber] as? NSNumber)?.uint64Value,
            let bytes = (attributes[.size] as? NSNumber)?.intValue,
            let modified = attributes[.modificationDate] as? Date
        else { return nil }
        return Signature(inode: inode, bytes: bytes, modified: modified)
    }
}
