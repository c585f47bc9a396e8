import Foundation
import Testing

/// `martlet up` with TLS, used by curl as any client of the internet would be.
@Suite(.serialized)
struct TLSTests {
    @Test func `HTTP/2 requests are served, and those that run when the host is stopped end well`()
        async throws
    {
        try await HostFixture.with { host in
            await host.stop()
            try await makeCertificate(host)
            try await host.start(
                "--domain",
                "martlet.test",
                "--tls-port",
                "0",
                "--tls-certificate",
                host.folder.appending(path: "cert.pem").path,
                "--tls-key",
                host.folder.appending(path: "cert.key").path
            )
            let port = try #require(
                host.log.firstMatch(of: #/and https:\/\/<app>\.martlet\.test:(\d+)\//#).map { String($0.1) },
                "\(host.log)"
            )
            let folder = host.folder.appending(path: "slow")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let source = """
                export default {
                  async fetch(request) {
                    if (request.url.endsWith("/now")) return new Response(request.url);
                    console.log("begun");
                    await new Promise((done) => setTimeout(done, 2000));
                    return new Response("slow but whole");
                  },
                };
                """
            try Data(source.utf8).write(to: folder.appending(path: "main.ts"))
            let deployed = try await host.martlet("deploy", folder.path, "--json")
            #expect(deployed.status == 0, "\(deployed.errors)")
            #expect(deployed.output.contains("https://slow.martlet.test:\(port)/"), "\(deployed.output)")
            let now = try await curl(host, port, "/now")
            #expect(now.output == "https://slow.martlet.test:\(port)/now over 2", "\(now)")
            async let slow = curl(host, port, "/slow")
            for _ in 0..<600 {
                if try await host.martlet("logs", "slow").output.contains("begun") { break }
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(await host.stop() == 0, "\(host.log)")
            let answer = try await slow
            #expect(answer.output == "slow but whole over 2", "\(answer)")
        }
    }

    @Test func `incomplete TLS options are refused with what is missing`() async throws {
        try await HostFixture.with { host in
            await host.stop()
            let folder = host.folder.appending(path: "other").path
            let lonely = try await host.martlet("up", "--port", "0", "--data", folder, "--tls-port", "0")
            #expect(lonely.status != 0)
            #expect(lonely.errors.contains("--tls-certificate"), "\(lonely.errors)")
            let absent = try await host.martlet(
                "up",
                "--port",
                "0",
                "--data",
                folder,
                "--tls-port",
                "0",
                "--tls-certificate",
                "/nonexistent.pem",
                "--tls-key",
                "/nonexistent.key"
            )
            #expect(absent.status != 0)
            #expect(absent.errors.contains("/nonexistent.pem"), "\(absent.errors)")
        }
    }

    private func curl(_ host: HostFixture, _ port: String, _ path: String) async throws -> HostFixture.Output
    {
        try await host.run(
            URL(filePath: "/usr/bin/env"),
            [
                "curl", "-sS", "--http2", "--max-time", "60", "--noproxy", "*", "--cacert",
                host.folder.appending(path: "cert.pem").path, "--resolve",
                "slow.martlet.test:\(port):127.0.0.1",
                "-w", " over %{http_version}", "https://slow.martlet.test:\(port)\(path)",
            ]
        )
    }

    private func makeCertificate(_ host: HostFixture) async throws {
        let path = host.folder.appending(path: "cert").path
        let made = try await host.run(
            URL(filePath: "/usr/bin/env"),
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days", "2", "-subj", "/CN=martlet.test", "-addext",
                "subjectAltName=DNS:martlet.test,DNS:*.martlet.test", "-keyout", "\(path).key", "-out",
                "\(path).pem",
            ]
        )
        #expect(made.status == 0, "\(made.errors)")
    }
}
