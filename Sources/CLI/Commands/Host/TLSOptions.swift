import ArgumentParser
import Control
import Daemon
import Foundation

/// The options of `martlet up` for HTTPS and HTTP/2.
struct TLSOptions: ParsableArguments {
    @Option(
        name: .customLong("tls-port"),
        help: "A port for HTTPS and HTTP/2 beside the other; 0 takes a free one."
    )
    var port: UInt16?
    @Option(
        name: .customLong("tls-certificate"),
        help:
            "A PEM file with a certificate and its chain, read again when it changes; several are chosen by name.",
        completion: .file()
    )
    var certificates: [String] = []
    @Option(
        name: .customLong("tls-key"),
        help: "The PEM file with the key of the certificate; as many as certificates, in their order.",
        completion: .file()
    )
    var keys: [String] = []

    /// What the `--tls-…` options say; nil without them.
    func configuration(listen: String) throws(MartletError) -> HostConfiguration.TLS? {
        guard port != nil || !certificates.isEmpty || !keys.isEmpty else { return nil }
        guard let port, !certificates.isEmpty, certificates.count == keys.count else {
            throw MartletError(
                .badRequest,
                "TLS needs --tls-port, and a --tls-key for each --tls-certificate; given were "
                    + "\(self.port.map { "port \($0)" } ?? "no port"), \(certificates.count) certificates and "
                    + "\(keys.count) keys"
            )
        }
        return HostConfiguration.TLS(
            listeners: [HostConfiguration.Listener(address: listen, port: port)],
            certificates: zip(certificates, keys).map { chain, key in
                HostConfiguration.TLS.Certificate(chain: URL(filePath: chain), key: URL(filePath: key))
            }
        )
    }
}
