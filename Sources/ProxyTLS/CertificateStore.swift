import NIOSSL
import Synchronization

/// A certificate and its key, in PEM files, and the names that it is for.
public struct CertificateFiles: Sendable {
    /// Host names; `*.example.com` stands for every name one level below.
    ///
    /// Where empty, those that the certificate itself is for (its subject alternative names).
    public var names: [String]
    /// The certificate with the chain behind it.
    public var chainPath: String
    public var keyPath: String

    public init(names: [String] = [], chainPath: String, keyPath: String) {
        self.names = names
        self.chainPath = chainPath
        self.keyPath = keyPath
    }
}

extension CertificateFiles {
    func read() throws -> (chain: [NIOSSLCertificate], key: NIOSSLPrivateKey) {
        (try NIOSSLCertificate.fromPEMFile(chainPath), try NIOSSLPrivateKey(file: keyPath, format: .pem))
    }
}

/// Why certificates could not be used.
public struct CertificateError: Error, CustomStringConvertible {
    public let description: String
}

/// The certificates of a TLS front, chosen by the name that the client asks for.
///
/// Handshakes read an immutable picture; ``reload()`` reads the files again and replaces it only when all of them are
/// good. Connections that are open keep the certificate that they began with.
final class CertificateStore: Sendable {
    private struct Contexts: Sendable {
        var exact: [String: NIOSSLContext] = [:]
        var wildcards: [String: NIOSSLContext] = [:]
        var fallback: NIOSSLContext
    }

    private let files: [CertificateFiles]
    private let clientAuthority: String?
    private let contexts: Mutex<Contexts>

    /// `clientAuthority`: clients must have a certificate that one in this PEM file has signed.
    init(_ files: [CertificateFiles], clientAuthority: String? = nil) throws {
        self.files = files
        self.clientAuthority = clientAuthority
        contexts = Mutex(try Self.load(files, clientAuthority))
    }

    func reload() throws {
        let loaded = try Self.load(files, clientAuthority)
        contexts.withLock { $0 = loaded }
    }

    /// The context for a name; the first certificate where no name was sent or none fits.
    func context(for name: String?) -> NIOSSLContext {
        contexts.withLock { contexts in
            guard let name = name?.lowercased() else { return contexts.fallback }
            if let context = contexts.exact[name] { return context }
            if let dot = name.firstIndex(of: "."), let context = contexts.wildcards[String(name[dot...])] {
                return context
            }
            return contexts.fallback
        }
    }

    private static func load(_ files: [CertificateFiles], _ clientAuthority: String?) throws -> Contexts {
        let loaded = try files.map { try context($0, clientAuthority) }
        guard let first = loaded.first else {
            throw CertificateError(description: "a TLS front needs a certificate")
        }
        var contexts = Contexts(fallback: first.context)
        for (context, names) in loaded {
            for name in names.map({ $0.lowercased() }) {
                if name.hasPrefix("*.") {
                    let suffix = String(name.dropFirst())
                    contexts.wildcards[suffix] = contexts.wildcards[suffix] ?? context
                } else {
                    contexts.exact[name] = contexts.exact[name] ?? context
                }
            }
        }
        return contexts
    }

    private static func context(
        _ file: CertificateFiles,
        _ clientAuthority: String?
    ) throws -> (context: NIOSSLContext, names: [String]) {
        do {
            let (chain, key) = try file.read()
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(key)
            )
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = clientAuthority == nil ? ["h2", "http/1.1"] : ["http/1.1"]
            if let clientAuthority { try PeerTLS.requirePeer(of: clientAuthority, in: &configuration) }
            let names = file.names.isEmpty ? chain.first.map(Self.names) ?? [] : file.names
            return (try NIOSSLContext(configuration: configuration), names)
        } catch let error as CertificateError {
            throw error
        } catch {
            throw CertificateError(
                description:
                    "load the certificate \(file.chainPath) with the key \(file.keyPath): \(error); both must "
                    + "be PEM files that belong together"
            )
        }
    }

    /// The host names that a certificate is for.
    private static func names(of certificate: NIOSSLCertificate) -> [String] {
        certificate._subjectAlternativeNames().compactMap { name in
            name.nameType == .dnsName ? String(decoding: name.contents, as: UTF8.self) : nil
        }
    }
}
