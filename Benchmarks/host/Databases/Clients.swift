import CSandbox
import Foundation
import Glibc
import TestSupport

/// A blocking client that keeps its connection, as a browser or a service does.
final class KeptConnection {
    private let descriptor: Int32
    private let host: String
    private var buffer = [UInt8](repeating: 0, count: 16 << 10)

    init?(host: String, port: UInt16) {
        guard let descriptor = try? HTTPClient.connect(port: port, timeout: 30) else { return nil }
        self.host = host
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Sends a request without a body, and waits for the whole answer.
    ///
    /// - Returns: its status, or 0 when there was none.
    func send(_ method: String, _ path: String) -> Int {
        let request = Array("\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\nContent-Length: 0\r\n\r\n".utf8)
        guard csandbox_send(descriptor, request, UInt64(request.count)) == request.count else { return 0 }
        var text = ""
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return 0 }
            text += String(decoding: buffer[..<count], as: UTF8.self)
            guard let end = text.range(of: "\r\n\r\n") else { continue }
            let lines = text[..<end.lowerBound].lowercased().split(separator: "\r\n")
            let length = lines.first { $0.hasPrefix("content-length:") }
                .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) }
            if text[end.upperBound...].utf8.count >= length ?? 0 {
                return Int(text.dropFirst(9).prefix(3)) ?? 0
            }
        }
    }
}

/// What several turns of one kind gave.
struct Turns: Sendable {
    private(set) var latencies: [Double] = []
    private var seconds = 0.0
    private(set) var failed = 0

    var rate: Double { Double(latencies.count) / seconds }
    var median: Double { Times(latencies).quantile(0.5) }

    func line(_ name: String) -> String {
        let label = name.padding(toLength: 34, withPad: " ", startingAt: 0)
        return "  \(label)" + String(format: "%7.0f/s   ", rate) + Times(latencies).text
            + (failed == 0 ? "" : "   failed: \(failed)")
    }

    /// Lets clients, each on a thread of its own, send one request after the other for a while.
    mutating func addRequests(_ clients: Int, for time: Duration, _ host: String, _ port: UInt16) async {
        let begin = ContinuousClock.now
        let results = await withTaskGroup(of: ([Double], Int).self) { group in
            for _ in 0..<clients {
                group.addTask {
                    await withCheckedContinuation { continuation in
                        Thread.detachNewThread {
                            continuation.resume(returning: Self.loop(until: begin + time, host, port))
                        }
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        seconds += (ContinuousClock.now - begin) / .seconds(1)
        for result in results {
            latencies += result.0
            failed += result.1
        }
    }

    private static func loop(
        until end: ContinuousClock.Instant,
        _ host: String,
        _ port: UInt16
    ) -> ([Double], Int) {
        guard let connection = KeptConnection(host: host, port: port) else { return ([], 1) }
        var (times, failed): ([Double], Int) = ([], 0)
        while ContinuousClock.now < end {
            let begin = ContinuousClock.now
            if connection.send("POST", "/") == 200 {
                times.append((ContinuousClock.now - begin) / .milliseconds(1))
            } else {
                failed += 1
                if failed > 100 { break }
            }
        }
        return (times, failed)
    }

    /// The same with a call of this process instead of a request.
    mutating func addCalls(
        _ clients: Int,
        for time: Duration,
        _ call: @escaping @Sendable (Int) async throws -> Void
    ) async throws {
        let begin = ContinuousClock.now
        let all = try await withThrowingTaskGroup(of: [Double].self) { group in
            for client in 0..<clients {
                group.addTask {
                    var times: [Double] = []
                    while ContinuousClock.now - begin < time {
                        let start = ContinuousClock.now
                        try await call(client)
                        times.append((ContinuousClock.now - start) / .milliseconds(1))
                    }
                    return times
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        seconds += (ContinuousClock.now - begin) / .seconds(1)
        latencies += all
    }
}
