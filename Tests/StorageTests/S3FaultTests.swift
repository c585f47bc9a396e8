import Foundation
import Logging
import NIOCore
import Storage
import StorageTestSupport
import Supervision
import TestSupport
import Testing

/// The S3 client against a server that fails as it is told to.
@Suite(.serialized, .timeLimit(.minutes(3))) struct `S3 under faults` {
    private let slowDown =
        #"{"status": 503, "body": "<Error><Code>SlowDown</Code><Message>wait</Message></Error>"}"#
    private let stored = #"{"status": 200, "headers": {"ETag": "\"1\""}}"#

    @Test func `requests are tried again when the server asks to slow down`() async throws {
        try await with([slowDown, slowDown, stored]) { store, _ in
            let etag = try await store.put(try ObjectKey("a"), .string("x"))
            #expect(etag.value == "\"1\"")
        }
    }

    @Test func `retries end, with the reason and without a secret`() async throws {
        try await with([slowDown, slowDown, slowDown, stored]) { store, requests in
            let error = await #expect(throws: StorageError.self) {
                try await store.put(try ObjectKey("a"), .string("x"))
            }
            #expect(error?.code == .unavailable)
            #expect(error?.description.contains("SlowDown: wait") == true)
            #expect(error?.description.contains("stub-secret") == false)
            try await Task.sleep(for: .milliseconds(100))
            #expect(requests.all.count == 3)
        }
    }

    @Test func `a conditional write whose answer was lost is known to have succeeded`() async throws {
        let lost = #"{"status": 0}"#
        let refused = #"{"status": 412, "body": "<Error><Code>PreconditionFailed</Code></Error>"}"#
        let mine = #"{"status": 200, "headers": {"ETag": "\"2\""}, "body": "mine"}"#
        let theirs = #"{"status": 200, "headers": {"ETag": "\"3\""}, "body": "theirs"}"#
        try await with([lost, refused, mine]) { store, _ in
            let etag = try await store.put(try ObjectKey("a"), .string("mine"), if: .absent)
            #expect(etag.value == "\"2\"")
        }
        for answers in [[lost, refused, theirs], [refused]] {
            try await with(answers) { store, _ in
                let error = await #expect(throws: StorageError.self) {
                    try await store.put(try ObjectKey("a"), .string("mine"), if: .absent)
                }
                #expect(error?.code == .conditionFailed)
            }
        }
    }

    @Test func `a clock that is wrong is corrected by the server's`() async throws {
        let skewed = #"""
            {"status": 403, "headers": {"Date": "Sun, 06 Nov 1994 08:49:37 GMT"},
             "body": "<Error><Code>RequestTimeTooSkewed</Code></Error>"}
            """#.replacingOccurrences(of: "\n", with: " ")
        try await with([skewed, stored]) { store, requests in
            try await store.put(try ObjectKey("a"), .string("x"))
            try await Task.sleep(for: .milliseconds(100))
            #expect(requests.all.last?.contains("19941106T08") == true, "\(requests.all)")
        }
    }

    @Test func `a clock that is wrong is corrected for all requests that were refused at once`() async throws
    {
        // Answered together, so that each request was sent before the first was refused.
        let skewed = #"""
            {"status": 403, "together": 3, "headers": {"Date": "Sun, 06 Nov 1994 08:49:37 GMT"},
             "body": "<Error><Code>RequestTimeTooSkewed</Code></Error>"}
            """#.replacingOccurrences(of: "\n", with: " ")
        try await with([skewed, skewed, skewed, stored, stored, stored]) { store, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for name in ["a", "b", "c"] {
                    group.addTask { try await store.put(try ObjectKey(name), .string("x")) }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `a refusal because of the clock that goes on names both times`() async throws {
        let skewed = #"""
            {"status": 403, "headers": {"Date": "Sun, 06 Nov 1994 08:49:37 GMT"},
             "body": "<Error><Code>RequestTimeTooSkewed</Code></Error>"}
            """#.replacingOccurrences(of: "\n", with: " ")
        try await with([skewed, skewed, stored]) { store, requests in
            let error = await #expect(throws: StorageError.self) {
                try await store.put(try ObjectKey("a"), .string("x"))
            }
            let text = error?.description ?? ""
            #expect(text.contains("08:49:37 GMT") && text.contains("this machine's clock says 2"), "\(text)")
            try await Task.sleep(for: .milliseconds(100))
            #expect(requests.all.count == 2)
        }
    }

    @Test func `content that is not what was written is an error`() async throws {
        let wrong =
            #"{"status": 200, "headers": {"ETag": "\"1\"", "x-amz-meta-sha256": "00"}, "body": "content"}"#
        try await with([wrong]) { store, _ in
            let error = await #expect(throws: StorageError.self) {
                _ = try await store.get(try ObjectKey("a")).bytes(upTo: 100)
            }
            #expect(error?.code == .corrupt)
        }
    }

    @Test func `a download that breaks goes on where it was`() async throws {
        let broken = #"{"status": 200, "headers": {"ETag": "\"1\""}, "body": "0123456789", "cut": 4}"#
        let rest =
            #"{"status": 206, "headers": {"ETag": "\"1\"", "Content-Range": "bytes 4-9/10"}, "body": "456789"}"#
        try await with([broken, rest]) { store, requests in
            let content = try await store.get(try ObjectKey("a")).bytes(upTo: 100)
            #expect(String(buffer: content) == "0123456789")
            try await Task.sleep(for: .milliseconds(100))
            #expect(requests.all.last?.contains("bytes=4-9") == true)
        }
    }

    /// Runs a server that gives the answers in turn and notes what it was asked.
    private func with(_ answers: [String], _ body: (S3Store, Lines) async throws -> Void) async throws {
        let lines = Lines()
        let server = try ChildProcess(
            .init(
                executable: tool("python3"),
                arguments: ["-u", "-c", Self.server, "[\(answers.joined(separator: ","))]"],
                environment: [:]
            )
        ) { lines.add($0) }
        let requests = Lines()
        do {
            let deadline = ContinuousClock.now + .seconds(30)
            while lines.all.isEmpty, ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(10))
            }
            let port = try #require(lines.all.first.flatMap { Int($0) })
            var settings = try S3Configuration(
                bucket: "dev",
                endpoint: "http://127.0.0.1:\(port)",
                region: "us-east-1",
                style: .path,
                credentials: S3Credentials(accessKey: "stub", secretKey: "stub-secret", sessionToken: nil)
            )
            settings.retry.attempts = 3
            settings.retry.base = .milliseconds(1)
            let store = S3Store(configuration: settings, logger: Logger(label: "test"))
            let following = Task {
                while !Task.isCancelled {
                    for line in lines.all.dropFirst(1 + requests.all.count) { requests.add(line) }
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
            defer { following.cancel() }
            try await body(store, requests)
        } catch {
            await server.stop(grace: .seconds(1))
            throw error
        }
        await server.stop(grace: .seconds(1))
    }

    private static let server = """
        import http.server, json, sys, threading
        together = threading.Barrier(3)
        answers = json.loads(sys.argv[1])
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                print(self.command, self.path, self.headers.get("Range"), self.headers.get("x-amz-date"))
                answer = answers.pop(0)
                if "together" in answer: together.wait(60)
                if answer["status"] == 0:
                    self.close_connection = True
                    return
                body = answer.get("body", "").encode()
                self.send_response_only(answer["status"])
                for name, value in answer.get("headers", {}).items(): self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                cut = answer.get("cut")
                self.wfile.write(body[:cut])
                if cut: self.close_connection = True
            do_GET = do_PUT = do_POST = do_DELETE = answer
            def log_message(self, *arguments): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        print(server.server_port)
        server.serve_forever()
        """
}
