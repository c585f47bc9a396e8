import Foundation
import Glibc
import TestSupport
import Testing

/// What a collector of OpenTelemetry hears of a host.
struct TracesTests {
    @Test func `a deployment is a trace of its steps, and is sent at the latest when the host stops`()
        async throws
    {
        let collector = try Collector()
        let spans: [Span]
        do {
            let endpoint = "http://127.0.0.1:\(try await collector.port())"
            try await HostFixture.with(variables: ["OTEL_EXPORTER_OTLP_ENDPOINT": endpoint]) { host in
                let deployment = try await host.martlet("deploy", "examples/guestbook")
                #expect(deployment.status == 0, "\(deployment)")
                #expect(await host.stop() == 0, "\(host.log)")
            }
            spans = try collector.spans()
        } catch {
            await collector.end()
            throw error
        }
        await collector.end()
        let deployment = try #require(spans.first { $0.name == "/v1/deployments" }, "\(spans)")
        let steps = spans.filter { $0.parentSpanId == deployment.spanId && $0.traceId == deployment.traceId }
        let names = Set(steps.map(\.name))
        #expect(
            names.isSuperset(of: ["deployment unpack", "deployment check", "deployment start"]),
            "\(spans)"
        )
    }

    private struct Span: Decodable {
        let name: String
        let traceId: String
        let spanId: String
        let parentSpanId: String?
    }

    /// A program that notes each span that it is sent on a line.
    private final class Collector: Sendable {
        private let folder: URL
        private let process: LockedProcess

        private static let script = """
            import http.server, json, sys
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_POST(self):
                    body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                    for resource in body["resourceSpans"]:
                        for scope in resource["scopeSpans"]:
                            for span in scope["spans"]:
                                print(json.dumps(span), flush=True)
                    self.send_response(200)
                    self.send_header("content-length", "0")
                    self.end_headers()
                def log_message(self, *arguments):
                    pass
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            print(server.server_port, flush=True)
            server.serve_forever()
            """

        init() throws {
            folder = FileManager.default.temporaryDirectory.appending(path: "martlet-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            process = LockedProcess()
            let output = folder.appending(path: "spans")
            try Data().write(to: output)
            try process.start(
                URL(filePath: "/usr/bin/python3"),
                ["-c", Self.script],
                environment: ["PATH": "/usr/bin:/bin"],
                output: output
            )
        }

        private var lines: [Substring] {
            get throws {
                try String(contentsOf: folder.appending(path: "spans"), encoding: .utf8)
                    .split(separator: "\n")
            }
        }

        func port() async throws -> Int {
            try await eventually("the collector listens") { try !lines.isEmpty }
            return try #require(try lines.first.flatMap { Int($0) })
        }

        func spans() throws -> [Span] {
            try lines.dropFirst().map { try JSONDecoder().decode(Span.self, from: Data($0.utf8)) }
        }

        func end() async {
            await process.end(SIGTERM)
            try? FileManager.default.removeItem(at: folder)
        }
    }
}
