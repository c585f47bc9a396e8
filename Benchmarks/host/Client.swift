import CSandbox
import Foundation
import Glibc
import TestSupport

/// A blocking client that measures the time to the first byte of an answer.
enum Client {
    struct Answer: Sendable {
        var status: Int
        var milliseconds: Double
    }

    /// Sends a request over loopback on a connection of its own, on a thread of its own.
    static func send(host: String, port: UInt16, path: String = "/") async -> Answer {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: exchange(host, port, path)) }
        }
    }

    /// The same over a unix socket, which need not be there yet.
    static func first(unix path: String, deadline: Duration) -> Bool {
        let end = ContinuousClock.now + deadline
        while ContinuousClock.now < end {
            let fd = csandbox_connect_unix(path)
            if fd >= 0 {
                defer { close(fd) }
                if status(fd, "localhost") == 200 { return true }
            }
            usleep(500)
        }
        return false
    }

    /// A request over a unix socket on a connection of its own, in milliseconds; nil when it fails.
    static func exchange(unix path: String) -> Double? {
        let begin = ContinuousClock.now
        let fd = csandbox_connect_unix(path)
        guard fd >= 0 else { return nil }
        defer { close(fd) }
        guard status(fd, "localhost") == 200 else { return nil }
        return (ContinuousClock.now - begin) / .milliseconds(1)
    }

    static func exchange(_ host: String, _ port: UInt16, _ path: String = "/") -> Answer {
        let begin = ContinuousClock.now
        var status = 0
        if let fd = try? HTTPClient.connect(port: port, timeout: 60) {
            defer { close(fd) }
            status = self.status(fd, host, path)
        }
        return Answer(status: status, milliseconds: (ContinuousClock.now - begin) / .milliseconds(1))
    }

    private static func status(_ fd: Int32, _ host: String, _ path: String = "/") -> Int {
        let request = Array("GET \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n".utf8)
        guard csandbox_send(fd, request, UInt64(request.count)) == request.count else { return 0 }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(fd, &bytes, bytes.count, 0)
        guard count > 12 else { return 0 }
        return Int(String(decoding: bytes[9..<12], as: UTF8.self)) ?? 0
    }
}

/// The middle and the tail of some times.
struct Times {
    private let sorted: [Double]
    var count: Int { sorted.count }

    init(_ times: [Double]) { sorted = times.sorted() }

    func quantile(_ share: Double) -> Double {
        sorted.isEmpty ? .nan : sorted[min(Int(Double(sorted.count) * share), sorted.count - 1)]
    }

    var text: String {
        String(
            format: "median %7.1f ms   p90 %7.1f   p99 %7.1f   max %7.1f   (n=%d)",
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
            quantile(1),
            sorted.count
        )
    }
}
