import Foundation
import Glibc
import Synchronization

/// Clients that write to a guest book and read it through several hosts in turn, each request on a connection of its own,
/// and remember what was answered.
final class LoadGenerator: Sendable {
    struct Result: Sendable {
        var answered = 0
        /// Identifiers of rows whose writing was confirmed.
        var written: [Int] = []
        var failures: [String] = []
    }

    private let app: String
    private let ports: [Int]
    private let result = Mutex(Result())
    private let isStopped = Mutex(false)
    private let threads = DispatchGroup()

    init(app: String, ports: [Int]) {
        self.app = app
        self.ports = ports
    }

    func start(clients: Int) {
        for client in 0..<clients {
            threads.enter()
            Thread.detachNewThread { [self] in
                var number = 0
                while !isStopped.withLock({ $0 }) {
                    let port = ports[(client + number) % ports.count]
                    perform(number % 2 == 0, client, number, port)
                    number += 1
                    usleep(20_000)
                }
                threads.leave()
            }
        }
    }

    func stop() async -> Result {
        isStopped.withLock { $0 = true }
        await withCheckedContinuation { continuation in
            threads.notify(queue: .global()) { continuation.resume() }
        }
        return result.withLock { $0 }
    }

    private func perform(_ isWrite: Bool, _ client: Int, _ number: Int, _ port: Int) {
        let body = "{\"name\":\"client \(client)\",\"message\":\"\(number)\"}"
        var text =
            (isWrite ? "POST" : "GET")
            + " /entries HTTP/1.1\r\nHost: \(app).localhost\r\nConnection: close\r\n"
        if isWrite { text += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
        text += "\r\n" + (isWrite ? body : "")
        let answer = Self.exchange(text, port: port)
        result.withLock { result in
            guard answer.hasPrefix("HTTP/1.1 200") || answer.hasPrefix("HTTP/1.1 201") else {
                result.failures.append("port \(port): \(answer.prefix(200))")
                return
            }
            result.answered += 1
            guard isWrite, let start = answer.range(of: "\"id\":") else { return }
            if let id = Int(answer[start.upperBound...].prefix { $0.isNumber }) { result.written.append(id) }
        }
    }

    /// One request and everything that comes back.
    private static func exchange(_ text: String, port: Int) -> String {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { return "connect: \(String(cString: strerror(errno)))" }
        let bytes = Array(text.utf8)
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            return "send: \(String(cString: strerror(errno)))"
        }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else {
                if count < 0 { return "receive: \(String(cString: strerror(errno)))" }
                return answer.isEmpty ? "the connection was closed" : String(decoding: answer, as: UTF8.self)
            }
            answer += buffer[..<count]
        }
    }
}
