import Glibc
import Testing

@testable import Proxy

@Suite("Heads of requests")
struct RequestHeadTests {
    private static func scan(_ text: String, limits: HeadLimits = HeadLimits()) -> (HeadScan, RequestHead) {
        let bytes = Array(text.utf8)
        let table = FieldTable(capacity: 100)
        var head = RequestHead()
        let result = bytes.withUnsafeBufferPointer { buffer -> HeadScan in
            guard let base = buffer.baseAddress else { return .incomplete }
            return head.scan(base, buffer.count, table: table, limits: limits)
        }
        return (result, head)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", -1),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", -1),
        ("POST /x?y=%20z HTTP/1.1\r\nHost: a.b-c_d:8080\r\nContent-Length: 0\r\n\r\n", 0),
        ("POST / HTTP/1.0\r\nHost: [::1]:80\r\nContent-Length: 007\r\n\r\n", 7),
        ("GET http://A.b:1/c HTTP/1.1\r\nHost: a.B:1\r\n\r\n", -1),
        ("OPTIONS * HTTP/1.1\r\nHost:a\r\n\r\n", -1),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Tab:\ta\tb \t\r\nX-High: \u{e9}\r\n\r\n", -1),
    ]) func `a good head is understood`(head: String, contentLength: Int) {
        let (result, parsed) = Self.scan(head)
        #expect(result == .complete)
        #expect(parsed.length == head.utf8.count)
        #expect(parsed.contentLength == contentLength)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", Refusal.missingHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .severalHosts),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", .malformedHost),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", .hostAndTargetDiffer),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .malformedStartLine),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", .malformedStartLine),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", .unsupportedVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .unsupportedVersion),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", .bareLineFeed),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedMethod),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", .connectNotSupported),
        ("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", .bareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n X: y\r\n\r\n", .foldedField),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .foldedField),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", .malformedFieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", .malformedFieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", .malformedFieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", .controlCharacter),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", .controlCharacter),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{7f}b\r\n\r\n", .controlCharacter),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            .severalContentLengths
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", .malformedContentLength),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            .malformedContentLength
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            .lengthAndTransferEncoding
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            .malformedTransferEncoding
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .unknownTransferEncoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", .unknownTransferEncoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n", .controlCharacter),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", .malformedTransferEncoding),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n",
            .nominatedFramingField
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, host\r\n\r\n", .nominatedFramingField),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", .unknownExpectation),
    ]) func `a head that could be understood in two ways is refused`(head: String, refusal: Refusal) {
        #expect(Self.scan(head).0 == .refused(refusal))
    }

    @Test func `long targets, large heads and many lines are refused with their own status`() {
        var limits = HeadLimits()
        limits.targetBytes = 100
        let longTarget = "GET /" + String(repeating: "a", count: 200) + " HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(Self.scan(longTarget, limits: limits).0 == .refused(.targetTooLong))
        limits.headBytes = 1000
        let large = "GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "a", count: 2000)
        #expect(Self.scan(large, limits: limits).0 == .refused(.headTooLarge))
        limits.headBytes = 100_000
        let many = "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: y\r\n", count: 100) + "\r\n"
        #expect(Self.scan(many, limits: limits).0 == .refused(.tooManyFields))
        #expect(Refusal.targetTooLong.status == 414)
        #expect(Refusal.headTooLarge.status == 431)
        #expect(Refusal.tooManyFields.status == 431)
    }

    @Test(arguments: [
        ("Upgrade: websocket\r\nConnection: Upgrade", true),
        ("Upgrade: websocket\r\nConnection: keep-alive, upgrade", true),
        ("Upgrade: websocket", false),
        ("Connection: Upgrade", false),
        ("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA", false),
        ("Upgrade: websocket, h2c\r\nConnection: Upgrade", false),
        ("Upgrade: TLS/1.3\r\nConnection: Upgrade", false),
        ("Upgrade: websocket\r\nUpgrade: websocket\r\nConnection: Upgrade", false),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3", false),
    ]) func `only an upgrade that cannot carry further requests is passed on`(lines: String, isPassed: Bool) {
        let (result, head) = Self.scan("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n\r\n")
        #expect(result == .complete)
        #expect(head.asksForUpgrade == isPassed)
    }

    @Test func `a head is incomplete at every cut and never complete early`() {
        let head = "POST http://a:80/b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 12\r\nX-Y:  z\r\n\r\n"
        for cut in 0..<head.utf8.count {
            #expect(
                Self.scan(String(decoding: head.utf8.prefix(cut), as: UTF8.self)).0 == .incomplete,
                "cut at \(cut)"
            )
        }
    }

    @Test(arguments: [UInt64(1), 2, 3, 4]) func `random heads are judged as by the reference`(seed: UInt64) {
        var numbers = SeededNumbers(seed: seed &+ Fuzzing.seedOffset)
        let table = FieldTable(capacity: 100)
        for round in 0..<Fuzzing.rounds {
            let bytes = Fuzzing.head(&numbers)
            var head = RequestHead()
            let result = bytes.withUnsafeBufferPointer { buffer -> HeadScan in
                guard let base = buffer.baseAddress else { return .incomplete }
                return head.scan(base, buffer.count, table: table, limits: HeadLimits())
            }
            let text = String(decoding: bytes, as: UTF8.self)
            switch ReferenceParser.request(bytes) {
            case .refused:
                let isRefused = if case .refused = result { true } else { false }
                #expect(isRefused, "seed \(seed) round \(round): \(text.debugDescription)")
            case .incomplete:
                #expect(result != .complete, "seed \(seed) round \(round): \(text.debugDescription)")
            case .complete(let length, let method, let path, let host, let contentLength, let isChunked):
                guard result == .complete else {
                    Issue.record("seed \(seed) round \(round): \(result) for \(text.debugDescription)")
                    continue
                }
                func part(_ start: Int, _ end: Int) -> String {
                    String(decoding: bytes[start..<end], as: UTF8.self)
                }
                #expect(head.length == length)
                #expect(part(head.start, head.methodEnd) == method)
                #expect((head.pathStart == head.pathEnd ? "/" : part(head.pathStart, head.pathEnd)) == path)
                #expect(part(head.hostStart, head.hostEnd) == host)
                #expect(head.contentLength == contentLength ?? -1)
                #expect(head.isChunked == isChunked)
            }
        }
    }
}

/// Random input that is near enough to the rules to reach all of them.
///
/// More rounds: MARTLET_FUZZ=1000000.
enum Fuzzing {
    static let rounds = getenv("MARTLET_FUZZ").flatMap { Int(String(cString: $0)) } ?? 2_000
    static let seedOffset = getenv("MARTLET_FUZZ_SEED").flatMap { UInt64(String(cString: $0)) } ?? 0

    private static let methods = [
        "GET", "POST", "HEAD", "OPTIONS", "CONNECT", "G T", "", "PATCH", "PUT", "DELETE", "get",
    ]
    private static let targets = [
        "/", "/a?b", "*", "http://a/", "http://a", "http://b/c", "https://a/x", "http://a?x", "a", "", "//",
        "/#",
        "http:///", "http://a:80/", "HTTP://A/",
    ]
    private static let versions = [
        "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/1.1 ", "",
    ]
    private static let names = [
        "Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "Expect", "X", "X-Forwarded-For",
        "TE",
        "Upgrade", "X ", "", " X", "Content_Length", "Keep-Alive", "X-Request-Id", "Proxy-Connection",
        "Cookie",
    ]
    private static let values = [
        "a", "a", "a", "a:80", "b", "A", "5", "0", "5, 5", "+5", "chunked", "Chunked", "chunked ",
        "gzip, chunked",
        "close", "keep-alive", "host", "content-length", "close, x", "100-continue", "[::1]", "[::1]:8", "",
        "\t a \t",
        "websocket", "upgrade", "x-request-id", "a\0", "\u{e9}", "a\rb", "99999999999999999999", "trailers",
    ]
    private static let ends = [
        "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ", "",
    ]

    static func pick<Value>(_ values: [Value], _ numbers: inout SeededNumbers) -> Value {
        values[Int.random(in: 0..<values.count, using: &numbers)]
    }

    static func head(_ numbers: inout SeededNumbers) -> [UInt8] {
        let isTame = Int.random(in: 0..<3, using: &numbers) > 0
        func end(_ numbers: inout SeededNumbers) -> String { isTame ? "\r\n" : pick(ends, &numbers) }
        var text = Int.random(in: 0..<10, using: &numbers) == 0 ? "\r\n" : ""
        text += (isTame ? pick(["GET", "POST", "OPTIONS"], &numbers) : pick(methods, &numbers)) + " "
        text += pick(targets, &numbers) + " "
        text +=
            (isTame ? pick(["HTTP/1.1", "HTTP/1.0"], &numbers) : pick(versions, &numbers)) + end(&numbers)
        if isTame { text += "Host: \(pick(["a", "a", "a:80", "A"], &numbers))\r\n" }
        for _ in 0..<Int.random(in: 0..<5, using: &numbers) {
            text +=
                pick(names, &numbers) + ":" + pick(["", " ", "\t"], &numbers) + pick(values, &numbers)
                + end(&numbers)
        }
        text += end(&numbers)
        var bytes = Array(text.utf8)
        if Int.random(in: 0..<4, using: &numbers) == 0, !bytes.isEmpty {
            // Any byte in place of another, or one less, or one more.
            let index = Int.random(in: 0..<bytes.count, using: &numbers)
            switch Int.random(in: 0..<3, using: &numbers) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &numbers)
            case 1: bytes.remove(at: index)
            default: bytes.insert(UInt8.random(in: 0...255, using: &numbers), at: index)
            }
        }
        return bytes
    }

    static func chunks(_ numbers: inout SeededNumbers) -> [UInt8] {
        var bytes: [UInt8] = []
        let sizes = [
            "0", "1", "5", "a", "A", "10", "00", "", "x", "0x1", "+1", "-1", "1 ", "ffffffffffffffff",
            "000000000000001",
        ]
        for _ in 0..<Int.random(in: 0..<4, using: &numbers) {
            let data = [UInt8](repeating: 120, count: Int.random(in: 1..<40, using: &numbers))
            let size =
                Int.random(in: 0..<8, using: &numbers) == 0
                ? pick(sizes, &numbers) : String(data.count, radix: 16)
            let ending = pick(["", "", "", ";a", ";a=\"b\"", "; \t", ";\u{7f}", ";\n", ";\r"], &numbers)
            bytes += Array("\(size)\(ending)\r\n".utf8) + data + Array("\r\n".utf8)
        }
        bytes += Array("0\r\n".utf8)
        let trailers = [
            "X: y\r\n", "Host: a\r\n", "X : y\r\n", "x-long-name-that-is-longer-than-24: y\r\n", "A:\r\n",
            "Te: x\r\n",
        ]
        for _ in 0..<Int.random(in: 0..<3, using: &numbers) { bytes += Array(pick(trailers, &numbers).utf8) }
        bytes += Array("\r\nrest".utf8)
        if Int.random(in: 0..<3, using: &numbers) == 0 {
            let index = Int.random(in: 0..<bytes.count, using: &numbers)
            if Bool.random(using: &numbers) {
                bytes[index] = pick([10, 13, 59, 48, 0, 32, 58, 120], &numbers)
            } else {
                bytes.remove(at: index)
            }
        }
        return bytes
    }
}
