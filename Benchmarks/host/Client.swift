import CSandbox
import Foundation
import Glibc

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

    static func exchange(_ host: String, _ port: UInt16, _ path: String = "/") -> Answer {
        let begin = ContinuousClock.now
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(fd) }
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        let status = result == 0 ? status(fd, host, path) : 0
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
