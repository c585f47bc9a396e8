import Foundation
import NIOSSL
import Temporal
import TemporalTesting

/// An authority with a server's and a client's certificate, made by `openssl` for one test.
struct Certificates {
    let folder: URL

    static func with<Result>(_ body: (Certificates) async throws -> Result) async throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "temporal-tls-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let certificates = Certificates(folder: folder)
        let script = """
            new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "$@"; }
            new -x509 -subj /CN=authority -keyout ca.key -out ca.pem
            new -x509 -subj /CN=other -keyout other.key -out other.pem
            for name in server client named; do
              new -subj /CN=$name -keyout $name.key -out $name.csr
              address=",IP:127.0.0.1"; [ $name = named ] && address=
              echo "subjectAltName=DNS:temporal.test$address" > $name.ext
              openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                -extfile $name.ext -out $name.pem
            done
            """
        let openssl = try Program("/bin/sh", ["-ec", script], folder: folder, name: "openssl")
        try await eventually("openssl has made the certificates") { !openssl.isRunning }
        return try await body(certificates)
    }

    func pem(_ name: String) throws -> Data { try Data(contentsOf: folder.appending(path: name)) }

    func server(
        _ name: String = "server",
        requiresClient: Bool = false,
        protocols: [String] = ["h2"]
    ) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(pem("\(name).pem"))).map {
                .certificate($0)
            },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(pem("\(name).key")), format: .pem))
        )
        configuration.applicationProtocols = protocols
        if requiresClient {
            configuration.certificateVerification = .noHostnameVerification
            configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(pem("ca.pem"))))
        }
        return try NIOSSLContext(configuration: configuration)
    }
}
