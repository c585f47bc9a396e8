import Control
import NIOCore
import NIOHTTP1

/// Reads one answer: its head, then its body whole or line by line.
final class ResponseBodyReader: @unchecked Sendable {
    // Unchecked: one task at a time reads, the one that `HTTPConnection.send` runs `read` in.
    private var iterator: NIOAsyncChannelInboundStream<HTTPClientResponsePart>.AsyncIterator
    private var pending = ByteBuffer()
    private var isAtEnd = false

    private static let maximumLineBytes = 4 << 20

    init(_ inbound: NIOAsyncChannelInboundStream<HTTPClientResponsePart>) {
        iterator = inbound.makeAsyncIterator()
    }

    func head() async throws -> HTTPResponseHead {
        while let part = try await iterator.next() {
            // Interim answers (1xx) come before the real one.
            if case .head(let head) = part, head.status.code >= 200 { return head }
        }
        throw MartletError(.unavailable, "Martlet closed the connection without an answer; was it shut down?")
    }

    /// The whole body.
    ///
    /// - Throws: ``MartletError`` with code `too_large` over the limit.
    func all(upTo limitBytes: Int) async throws -> [UInt8] {
        while try await fill() {
            guard pending.readableBytes <= limitBytes else {
                throw MartletError(.tooLarge, "the answer has more than \(ByteCount.format(limitBytes))")
            }
        }
        return Array(pending.readableBytesView)
    }

    /// What has arrived of the body; nothing at its end.
    func piece() async throws -> [UInt8]? {
        if pending.readableBytes == 0, try await !fill() { return nil }
        defer { pending.clear() }
        return Array(pending.readableBytesView)
    }

    /// The next line without its end; nothing at the end of the body.
    func line() async throws -> [UInt8]? {
        while true {
            if let end = pending.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
                let line = pending.readBytes(length: end - pending.readerIndex)
                pending.moveReaderIndex(forwardBy: 1)
                pending.discardReadBytes()
                return line
            }
            guard pending.readableBytes <= Self.maximumLineBytes else {
                throw MartletError(
                    .tooLarge,
                    "a line of the answer has more than \(Self.maximumLineBytes) bytes"
                )
            }
            guard try await fill() else {
                let rest = pending.readBytes(length: pending.readableBytes)
                return rest?.isEmpty == false ? rest : nil
            }
        }
    }

    private func fill() async throws -> Bool {
        while !isAtEnd, let part = try await iterator.next() {
            switch part {
            case .head: continue
            case .body(var buffer):
                pending.writeBuffer(&buffer)
                return true
            case .end: isAtEnd = true
            }
        }
        // A body that breaks off is an error of the connection, unless the answer was complete.
        guard isAtEnd else {
            throw MartletError(.unavailable, "the answer of Martlet broke off; was it shut down?")
        }
        return false
    }
}
