import Control
import Daemon
import Foundation
import Testing

/// The host's ingress with TLS: certificates of an authority that the test makes, curl as the client.
@Suite(.serialized)
struct TLSTests {
    private static let app = [
        "main.ts": """
        export default {
          async fetch(request) {
            const url = new URL(request.url);
            const told = ["x-forwarded-proto", "x-forwarded-for", "host"].map((n) => request.headers.get(n));
            return new Response(`${request.url} ${told.join(" ")} ${(await request.text()).length}`);
          },
        };
        """
    ]

    @Test func `apps are served with HTTP/2 under the certificate of their name`() async throws {
        try await Authority.with { authority in
            try await authority.issue("local", names: ["*.martlet.test"])
            try await authority.issue("other", names: ["other.example", "*.other.example"])
            try await HostFixture.with {
                $0.domain = "martlet.test"
                $0.tls = authority.settings(["local", "other"])
            } _: { host in
                let deployment = try await host.deploy("greet", Self.app)
                let port = try #require(await host.daemon.tlsPort)
                #expect(deployment.url == "https://greet.martlet.test:\(port)/")
                for version in ["--http1.1", "--http2"] {
                    let answer = try await authority.curl(
                        "https://greet.martlet.test:\(port)/a?b=c",
                        version,
                        "--data-binary",
                        String(repeating: "x", count: 100_000),
                        "--write-out",
                        " version %{http_version}"
                    )
                    #expect(
                        answer.hasPrefix(
                            "https://greet.martlet.test:\(port)/a?b=c https 127.0.0.1 greet.martlet.test:\(port) 100000"
                        ),
                        "\(answer)"
                    )
                    #expect(answer.hasSuffix(version == "--http2" ? "version 2" : "version 1.1"), "\(answer)")
                }
                // The certificate is the one for the name, and the routing knows no such app.
                let unknown = try await authority.curl("https://www.other.example:\(port)/", "--http2")
                #expect(unknown.contains("\"error\""), "\(unknown)")
                let strange = try await authority.curl("https://stranger.example:\(port)/", "--http2")
                #expect(
                    strange.contains("curl: (60)"),
                    "the first certificate is not for that name: \(strange)"
                )
                let status = try await host.daemon.application(ApplicationID(validating: "greet"))
                #expect(status.requests == 2, "requests with TLS are counted as others are")
            }
        }
    }

    @Test func `certificates are read again when their files change`() async throws {
        try await Authority.with { authority in
            try await authority.issue("local", names: ["*.martlet.test"])
            try await HostFixture.with {
                $0.domain = "martlet.test"
                var tls = authority.settings(["local"])
                tls.reloadInterval = .milliseconds(20)
                $0.tls = tls
            } _: { host in
                try await host.deploy("greet", Self.app)
                let port = try #require(await host.daemon.tlsPort)
                func serial() async throws -> String {
                    try await authority.curl(
                        "https://greet.martlet.test:\(port)/",
                        "--http2",
                        "--write-out",
                        "%{certs}"
                    )
                    .components(separatedBy: "\n").first { $0.hasPrefix("Serial Number:") } ?? "none"
                }
                let before = try await serial()
                #expect(before != "none")
                let chain = authority.folder.appending(path: "local.pem")
                let good = try Data(contentsOf: chain)
                try Data("nonsense".utf8).write(to: chain)
                try await Task.sleep(for: .milliseconds(300))
                #expect(try await serial() == before, "a bad file changes nothing")
                try good.write(to: chain)
                try await authority.issue("local", names: ["*.martlet.test"])
                try await HostFixture.wait("the new certificate is served", atMost: 60) {
                    try await serial() != before
                }
            }
        }
    }

    @Test func `what is wrong with a certificate or a port is said`() async throws {
        try await Authority.with { authority in
            await #expect(throws: MartletError.self) {
                try await HostFixture.with {
                    $0.tls = authority.settings(["missing"])
                } _: { _ in
                }
            }
            try await authority.issue("local", names: ["*.martlet.test"])
            try await HostFixture.with {
                $0.tls = authority.settings(["local"])
            } _: { host in
                let port = try #require(await host.daemon.tlsPort)
                await #expect(throws: MartletError.self) {
                    try await HostFixture.with {
                        $0.tls = authority.settings(["local"])
                        $0.tls?.listeners[0].port = port
                    } _: { _ in
                    }
                }
            }
        }
    }
}

/// A certificate authority of a test.
struct Authority: Sendable {
    let folder: URL

    /// Makes one for the duration of `body`.
    static func with(_ body: (Authority) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "martlet-authority-\(UUID().uuidString.prefix(8))"
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }  // Nothing depends on it.
        try await body(try await Authority(folder))
    }

    init(_ folder: URL) async throws {
        self.folder = folder
        try await openssl(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=Test authority",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem"
        )
    }

    /// Writes `NAME.pem` and `NAME.key`, in place of those that may be there.
    func issue(_ file: String, names: [String]) async throws {
        let list = names.map { "DNS:\($0)" }.joined(separator: ",")
        try Data("subjectAltName=\(list)\n".utf8).write(to: folder.appending(path: "extensions"))
        try await openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=\(file)",
            "-keyout",
            "new.key",
            "-out",
            "new.csr"
        )
        try await openssl(
            "x509",
            "-req",
            "-in",
            "new.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "extensions",
            "-out",
            "new.pem"
        )
        for suffix in ["key", "pem"] {
            let target = folder.appending(path: "\(file).\(suffix)")
            try? FileManager.default.removeItem(at: target)  // The first time there is none.
            try FileManager.default.moveItem(at: folder.appending(path: "new.\(suffix)"), to: target)
        }
    }

    func settings(_ files: [String]) -> HostConfiguration.TLS {
        HostConfiguration.TLS(
            listeners: [HostConfiguration.Listener(port: 0)],
            certificates: files.map {
                HostConfiguration.TLS.Certificate(
                    chain: folder.appending(path: "\($0).pem"),
                    key: folder.appending(path: "\($0).key")
                )
            }
        )
    }

    /// curl to 127.0.0.1 whatever the name, trusting the authority alone; what it says on an error is the output.
    func curl(_ url: String, _ arguments: String...) async throws -> String {
        let address = URL(string: url).flatMap { url in
            url.host().map { "\($0):\(url.port ?? 443):127.0.0.1" }
        }
        return try await run(
            "curl",
            [
                "--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--cacert", "ca.pem",
                "--resolve",
                address ?? "",
            ] + arguments + [url]
        ).output
    }

    private func openssl(_ arguments: String...) async throws {
        let (status, output) = try await run("openssl", arguments)
        guard status == 0 else { throw MartletError(.internal, "openssl \(arguments): \(output)") }
    }

    /// Waiting for a process blocks its thread, so it is one of its own: the host may need all others.
    private func run(
        _ program: String,
        _ arguments: [String]
    ) async throws -> (
        status: Int32, output: String
    ) {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        let process = Process()
                        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
                        process.arguments = [program] + arguments
                        process.currentDirectoryURL = folder
                        process.environment = [
                            "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": "/nonexistent",
                        ]
                        let pipe = Pipe()
                        process.standardOutput = pipe
                        process.standardError = pipe
                        try process.run()
                        let data = pipe.fileHandleForReading.readDataToEndOfFile()
                        process.waitUntilExit()
                        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
                    }
                )
            }
        }
    }
}
