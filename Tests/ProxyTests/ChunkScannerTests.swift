import Testing

@testable import Proxy

@Suite("Chunked bodies")
struct ChunkScannerTests {
    private func take(_ text: String) -> (taken: Int, scanner: ChunkScanner) {
        var scanner = ChunkScanner()
        let bytes = Array(text.utf8)
        let taken = bytes.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { scanner.take($0, buffer.count) } ?? 0
        }
        return (taken, scanner)
    }

    @Test(arguments: [
        "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "A;x=y\r\n0123456789\r\n000\r\nTrailer-Of-Mine: x\r\n\r\n",
        "5;\r\nhello\r\n0;a;b\r\n\r\n",
    ]) func `a whole body is taken and nothing after it`(body: String) {
        let (taken, scanner) = take(body + "GET / HTTP/1.1\r\n")
        #expect(taken == body.utf8.count)
        #expect(scanner.isDone)
    }

    @Test(arguments: [
        "\r\n", "x\r\n", " 5\r\nhello\r\n", "5 \r\nhello\r\n", "0x5\r\nhello\r\n", "+5\r\nhello\r\n",
        "5\nhello\n",
        "5\r\nhelloX\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0", "fffffffffffffffff\r\n",
        "5;\n\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n", "0\r\nX : y\r\n\r\n", "0\r\n X: y\r\n\r\n", "0\r\nX: \0\r\n\r\n", "0\r\n\n",
        "0\n\r\n",
        "5;" + String(repeating: "a", count: 300) + "\r\nhello\r\n",
        "0\r\nX: " + String(repeating: "a", count: 10_000) + "\r\n\r\n",
    ]) func `a body that could be understood in two ways is refused`(body: String) {
        #expect(take(body).scanner.refusal == .malformedChunk)
    }

    @Test(arguments: [
        "Transfer-Encoding: chunked", "content-length: 5", "HOST: a", "X-Forwarded-For: 1.1.1.1",
    ])
    func `a trailer that would change the head is refused`(line: String) {
        #expect(take("0\r\n\(line)\r\n\r\n").scanner.refusal == .forbiddenTrailer)
    }

    @Test(arguments: [UInt64(11), 12, 13, 14])
    func `random bodies are judged as by the reference, in pieces of any size`(seed: UInt64) {
        var numbers = SeededNumbers(seed: seed &+ Fuzzing.seedOffset)
        for round in 0..<Fuzzing.rounds {
            let bytes = Fuzzing.chunks(&numbers)
            let expected = ReferenceParser.chunks(bytes)
            var scanner = ChunkScanner()
            var decoder = ChunkScanner()
            var data = [UInt8](repeating: 0, count: bytes.count + 1)
            var produced = 0
            var taken = 0
            var decoded = 0
            while taken < bytes.count && !scanner.isDone && !scanner.isRefused {
                let piece = min(Int.random(in: 1...20, using: &numbers), bytes.count - taken)
                bytes.withUnsafeBufferPointer { buffer in
                    data.withUnsafeMutableBufferPointer { output in
                        guard let base = buffer.baseAddress, let target = output.baseAddress else { return }
                        decoded += decoder.decode(base + taken, piece, into: target, &produced)
                        taken += scanner.take(base + taken, piece)
                    }
                }
            }
            let text = String(decoding: bytes, as: UTF8.self).debugDescription
            #expect(scanner == decoder, "seed \(seed) round \(round)")
            #expect(taken == decoded, "seed \(seed) round \(round)")
            // The reference reads whole lines: it may see less of a body that ends within one, never more.
            if expected.isRefused || expected.length != nil {
                #expect(scanner.isRefused == expected.isRefused, "seed \(seed) round \(round): \(text)")
            }
            #expect((scanner.isDone ? taken : nil) == expected.length, "seed \(seed) round \(round): \(text)")
            if scanner.isDone {
                #expect(Array(data[..<produced]) == expected.data, "seed \(seed) round \(round)")
            }
        }
    }
}
