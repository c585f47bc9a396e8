import Foundation
import Proxy
import ProxyTLS
import Testing

@Suite("TLS and HTTP/2")
struct TLSFrontTests {
    @Test func `curl is served over both protocols with the certificate of its name`() async throws {
        try await TLSFixture.with { fixture in
            for name in ["a.test", "b.test", "sub.b.test"] {
                for version in ["--http1.1", "--http2"] {
                    let output = try fixture.curl(
                        "\(name)/path?q=1",
                        version,
                        "--write-out",
                        "version %{http_version}"
                    )
                    #expect(output.hasPrefix("GET /path?q=1 HTTP/1.1\r\n"), "\(output)")
                    #expect(output.contains("Host: \(name):\(fixture.port)\r\n"))
                    #expect(output.contains("X-Forwarded-Proto: https\r\n"))
                    #expect(output.contains("X-Forwarded-For: 127.0.0.1\r\n"))
                    #expect(output.hasSuffix(version == "--http2" ? "version 2" : "version 1.1"))
                }
            }
            #expect(fixture.proxy.metrics.apps.first?.requests == 6)
        }
    }

    @Test func `bodies of every size and framing go through`() async throws {
        try await TLSFixture.with { fixture in
            let file = fixture.folder.appending(path: "body")
            for size in [0, 1, 70_000, 3_000_000] {
                try Data(repeating: 1, count: size).write(to: file)
                for version in ["--http1.1", "--http2"] {
                    let plain = try fixture.curl(
                        "a.test/x",
                        version,
                        "--data-binary",
                        "@\(file.path)",
                        "-H",
                        "Expect:"
                    )
                    #expect(plain.hasSuffix("body: \(size)\n"), "\(plain.suffix(200))")
                    let answer = try fixture.curl(
                        "a.test/bytes/\(size)",
                        version,
                        "-o",
                        "/dev/null",
                        "-w",
                        "%{size_download}"
                    )
                    #expect(answer == "\(size)")
                }
            }
            let chunked = try fixture.curl("a.test/x", "--http2", "-X", "POST", "-T", file.path)
            #expect(chunked.contains("body: "))
            let head = try fixture.curl("a.test/bytes/100", "--http2", "--head")
            #expect(head.contains("HTTP/2 200"))
            #expect(head.contains("content-length: 100"))
        }
    }

    @Test func `nghttp2's load generator sees no failure`() async throws {
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/h2load") else { return }
        try await TLSFixture.with { fixture in
            let result = try TLSFixture.run(
                "h2load",
                "-n",
                "2000",
                "-c",
                "8",
                "-m",
                "20",
                "-H",
                ":authority: a.test",
                "https://127.0.0.1:\(fixture.port)/bytes/1000"
            )
            #expect(
                result.output.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"),
                "\(result.output)"
            )
            #expect(result.output.contains("Application protocol: h2"))
        }
    }

    @Test func `a client that is strict about HTTP/2 finds every rule kept`() async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent()
        let python =
            ProcessInfo.processInfo.environment["MARTLET_TOOLS"].map { URL(filePath: $0) }
            ?? root.deletingLastPathComponent().deletingLastPathComponent().appending(path: ".tools")
        let program = python.appending(path: "test/bin/python").path
        try #require(FileManager.default.isExecutableFile(atPath: program), "run `make test-tools` first")
        try await TLSFixture.with { fixture in
            let result = try await TLSFixture.runAside([
                program, root.appending(path: "Python/strict.py").path, "\(fixture.port)",
                fixture.folder.appending(path: "a.test.pem").path,
            ])
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.components(separatedBy: ": passed").count == 6, "\(result.output)")
        }
    }

    @Test func `certificates are read again without a restart, and bad ones change nothing`() async throws {
        try await TLSFixture.with { fixture in
            let before = try fixture.curl("a.test/x", "--http2")
            #expect(before.hasPrefix("GET /x"))
            let chain = fixture.folder.appending(path: "a.test.pem")
            let key = fixture.folder.appending(path: "a.test.key")
            let old = (try Data(contentsOf: chain), try Data(contentsOf: key))
            try Data("nonsense".utf8).write(to: chain)
            #expect(throws: CertificateError.self) { try fixture.front.reload() }
            try old.0.write(to: chain)
            #expect(try fixture.curl("a.test/x", "--http2").hasPrefix("GET /x"))
            try await TLSFixture.makeCertificate("a.test", in: fixture.folder)
            #expect(
                try !fixture.curl("a.test/x", "--http2").hasPrefix("GET /x"),
                "the new one is not served yet"
            )
            try fixture.front.reload()
            #expect(try fixture.curl("a.test/x", "--http2").hasPrefix("GET /x"))
        }
    }
}
