import CSandbox
import Foundation
import TestSupport

/// A WebSocket client that sends and receives short texts (RFC 6455).
final class TestWebSocket {
    private let fd: Int32

    init(host: String, port: UInt16, path: String) throws {
        fd = try HTTPClient.connect(port: port, timeout: 30)
        let request =
            "GET \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        try write(Array(request.utf8))
        var head: [UInt8] = []
        while !head.suffix(4).elementsEqual([13, 10, 13, 10]) { head.append(try read(1)[0]) }
        let text = String(decoding: head, as: UTF8.self)
        guard text.hasPrefix("HTTP/1.1 101") else { throw HTTPClient.Failure(description: text) }
    }

    deinit { csandbox_close(fd) }

    /// Sends a text of less than 126 bytes and waits for one.
    func echo(_ text: String) throws -> String {
        let payload = Array(text.utf8)
        // Final, text; masked with zeros, which leaves the bytes as they are.
        try write([0x81, 0x80 | UInt8(payload.count), 0, 0, 0, 0] + payload)
        let head = try read(2)
        return String(decoding: try read(Int(head[1] & 0x7F)), as: UTF8.self)
    }

    /// Reads until the other side closes the socket, and tells with which code and words.
    func waitForClose() throws -> (code: Int, reason: String) {
        while true {
            let head = try read(2)
            let payload = try read(Int(head[1] & 0x7F))
            guard head[0] & 0x0F == 8 else { continue }
            guard payload.count >= 2 else { return (1005, "") }
            return (
                Int(payload[0]) << 8 | Int(payload[1]), String(decoding: payload.dropFirst(2), as: UTF8.self)
            )
        }
    }

    func close() { shutdown(fd, Int32(SHUT_RDWR)) }

    private func write(_ bytes: [UInt8]) throws {
        guard csandbox_send(fd, bytes, UInt64(bytes.count)) == bytes.count else {
            throw HTTPClient.Failure(description: "send: errno \(errno)")
        }
    }

    private func read(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let result = bytes.withUnsafeMutableBytes {
                recv(fd, $0.baseAddress.map { $0 + got }, count - got, 0)
            }
            guard result > 0 else { throw HTTPClient.Failure(description: "receive: errno \(errno)") }
            got += result
        }
        return bytes
    }
}
