import Foundation
import Glibc
import Synchronization

/// A load generator of its own process: so many writes and reads each second, sent when they are due whether or not earlier
/// ones are answered, each timed from when it was due.
///
/// It runs until its standard input is closed, and then writes a line for every request: what it was, when it was due,
/// how long it took, its status, its number, and who answered as which epoch.
struct Load {
    var ports: [UInt16]
    var apps: [String]
    var writesPerSecond: Int
    var readsPerSecond: Int
    /// Requests that may be under way at once.
    var clients = 192

    struct Outcome: Sendable {
        var isWrite: Bool
        /// Nanoseconds of the monotonic clock.
        var due: UInt64
        var nanoseconds: UInt64
        var status: Int
        var id: Int
        var host: String
        var epoch: Int

        var line: String {
            "\(isWrite ? "W" : "R") \(due) \(nanoseconds) \(status) \(id) \(host.isEmpty ? "-" : host) \(epoch)"
        }

        init?(line: Substring) {
            let words = line.split(separator: " ")
            guard words.count == 7, let due = UInt64(words[1]), let nanoseconds = UInt64(words[2]),
                let status = Int(words[3]), let id = Int(words[4]), let epoch = Int(words[6])
            else { return nil }
            isWrite = words[0] == "W"
            (self.due, self.nanoseconds, self.status, self.id, self.epoch) = (
                due, nanoseconds, status, id, epoch
            )
            host = String(words[5])
        }

        init(isWrite: Bool, due: UInt64, nanoseconds: UInt64, status: Int, id: Int, host: String, epoch: Int)
        {
            self.isWrite = isWrite
            self.due = due
            self.nanoseconds = nanoseconds
            self.status = status
            self.id = id
            self.host = host
            self.epoch = epoch
        }
    }

    func run() {
        let next = Atomic<Int>(0)
        let isEnded = Atomic<Bool>(false)
        let outcomes = Mutex<[Outcome]>([])
        let start = Self.now() + 50_000_000
        let rate = writesPerSecond + readsPerSecond
        let group = DispatchGroup()
        for _ in 0..<clients {
            group.enter()
            Thread.detachNewThread {
                var connections: [UInt16: Int32] = [:]
                var own: [Outcome] = []
                while !isEnded.load(ordering: .relaxed) {
                    let id = next.add(1, ordering: .relaxed).oldValue
                    let due = start + UInt64(id) * 1_000_000_000 / UInt64(rate)
                    let now = Self.now()
                    if due > now { usleep(UInt32((due - now) / 1000)) }
                    let isWrite = id % rate < writesPerSecond
                    // Another one each time an app comes round.
                    let port = ports[(id / apps.count + id) % ports.count]
                    let got = exchange(isWrite, id, port, &connections)
                    own.append(
                        Outcome(
                            isWrite: isWrite,
                            due: due,
                            nanoseconds: Self.now() - due,
                            status: got.status,
                            id: id,
                            host: got.host,
                            epoch: got.epoch
                        )
                    )
                }
                let done = own
                outcomes.withLock { $0 += done }
                group.leave()
            }
        }
        while readLine() != nil {}
        isEnded.store(true, ordering: .relaxed)
        group.wait()
        for outcome in outcomes.withLock({ $0 }) { print(outcome.line) }
    }

    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private func exchange(
        _ isWrite: Bool,
        _ id: Int,
        _ port: UInt16,
        _ connections: inout [UInt16: Int32]
    ) -> (
        status: Int, host: String, epoch: Int
    ) {
        let request =
            "\(isWrite ? "POST" : "GET") /?id=\(id) HTTP/1.1\r\nHost: \(apps[id % apps.count]).localhost\r\nContent-Length: 0\r\n\r\n"
        guard let fd = connections[port] ?? connect(port) else { return (0, "", 0) }
        connections[port] = fd
        let bytes = Array(request.utf8)
        guard send(fd, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count, let answer = answer(fd)
        else {
            close(fd)
            connections[port] = nil
            return (0, "", 0)
        }
        if answer.closes {
            close(fd)
            connections[port] = nil
        }
        return (answer.status, answer.host, answer.epoch)
    }

    private func answer(_ fd: Int32) -> (status: Int, host: String, epoch: Int, closes: Bool)? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(fd, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            bytes += buffer[..<count]
            let text = String(decoding: bytes, as: UTF8.self)
            guard let end = text.range(of: "\r\n\r\n") else { continue }
            var fields: [String: String] = [:]
            let lines = text[..<end.lowerBound].split(separator: "\r\n")
            for line in lines.dropFirst() {
                guard let colon = line.firstIndex(of: ":") else { continue }
                fields[line[..<colon].lowercased()] =
                    line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            }
            let body = text[end.upperBound...]
            if let length = Int(fields["content-length"] ?? "") {
                guard body.utf8.count >= length else { continue }
            } else if fields["transfer-encoding"] != nil, !body.hasSuffix("0\r\n\r\n") {
                continue
            }
            let status = Int(lines.first?.split(separator: " ").dropFirst().first ?? "") ?? 0
            return (
                status, fields["served-by"] ?? "", Int(fields["served-epoch"] ?? "") ?? 0,
                fields["connection"]?.lowercased() == "close"
            )
        }
    }

    private func connect(_ port: UInt16) -> Int32? {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard fd >= 0 else { return nil }
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var yes: Int32 = 1
        setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(fd)
            return nil
        }
        return fd
    }
}
