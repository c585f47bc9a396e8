import Glibc

/// A blocking connection of a test: every read ends after a generous time, so that no test hangs.
final class TestSocket: @unchecked Sendable {
    // Sendable because a test hands it to one thread at a time.

    let descriptor: Int32
    private(set) var buffer: [UInt8] = []
    private(set) var hasEnded = false
    /// Why reading ended, if not with a plain end.
    private(set) var errorNumber: Int32 = 0
    private var isClosed = false

    init(descriptor: Int32, seconds: Int = 120) {
        self.descriptor = descriptor
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close() }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        _ = Glibc.close(descriptor)
    }

    /// Ends the connection with a reset.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    /// Drops whatever arrives from now on, so that the kernel acknowledges nothing and the other end hears no more: as when
    /// the link is cut.
    func dropIncoming() { dropPackets(to: descriptor) }

    /// Ends both directions; a thread that waits for bytes goes on.
    func endBoth() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    func endWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// False when the other side takes no more.
    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let sent = bytes[offset...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if sent <= 0 { return false }
            offset += sent
        }
        return true
    }

    /// Reads once more; false at the end.
    @discardableResult
    func fill() -> Bool {
        guard !hasEnded else { return false }
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        let got = recv(descriptor, &chunk, chunk.count, 0)
        guard got > 0 else {
            hasEnded = true
            errorNumber = got < 0 ? errno : 0
            return false
        }
        buffer.append(contentsOf: chunk[0..<got])
        return true
    }

    /// Bytes that can be had without waiting longer than this.
    func hasMore(withinMilliseconds milliseconds: Int32) -> Bool {
        if !buffer.isEmpty { return true }
        var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&wait, 1, milliseconds) > 0
    }

    func take(_ count: Int) -> [UInt8] {
        let taken = Array(buffer.prefix(count))
        buffer.removeFirst(taken.count)
        return taken
    }

    /// A head with its empty line, as text; nil at the end.
    func readHead() -> String? {
        let mark: [UInt8] = [13, 10, 13, 10]
        var searched = 0
        while true {
            if buffer.count >= 4 {
                for index in max(searched - 3, 0)...(buffer.count - 4)
                where Array(buffer[index..<index + 4]) == mark {
                    return String(decoding: take(index + 4), as: UTF8.self)
                }
                searched = buffer.count
            }
            guard fill() else { return nil }
        }
    }

    func read(_ count: Int) -> [UInt8] {
        while buffer.count < count, fill() {}
        return take(count)
    }

    func readToEnd() -> [UInt8] {
        while fill() {}
        return take(buffer.count)
    }

    /// A chunked body with its coding.
    func readChunks() -> String {
        var text = ""
        while !text.hasSuffix("0\r\n\r\n") {
            let more = read(1)
            if more.isEmpty { break }
            text += String(decoding: more, as: UTF8.self)
        }
        return text
    }

    /// An answer with a body of the length that its head says.
    func readAnswer() -> TestAnswer? {
        guard let head = readHead() else { return nil }
        var answer = TestAnswer(head: head)
        if let length = answer.field("content-length").flatMap({ Int($0) }) {
            answer.body = String(decoding: read(length), as: UTF8.self)
        }
        return answer
    }

    static func connect6(port: UInt16) throws -> TestSocket {
        let descriptor = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = port.bigEndian
        withUnsafeMutableBytes(of: &address.sin6_addr) { $0[15] = 1 }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
            }
        }
        guard result == 0 else {
            _ = Glibc.close(descriptor)
            throw TestFailure("connect to [::1]:\(port)")
        }
        return TestSocket(descriptor: descriptor)
    }

    static func connect(port: UInt16) throws -> TestSocket {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            let error = errno
            _ = Glibc.close(descriptor)
            throw TestFailure("connect to port \(port): \(String(cString: strerror(error)))")
        }
        return TestSocket(descriptor: descriptor)
    }
}

/// Gives a socket a filter that lets no packet through.
func dropPackets(to descriptor: Int32) {
    // One instruction of the classic filters, as the kernel lays it out: BPF_RET | BPF_K, with 0 bytes.
    var instruction: UInt64 = 6
    let result = withUnsafeMutablePointer(to: &instruction) {
        var program = FilterProgram(count: 1, instructions: $0)
        let size = socklen_t(MemoryLayout<FilterProgram>.size)
        return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, size)
    }
    precondition(result == 0, "the kernel takes no filter: \(String(cString: strerror(errno)))")
}

/// The kernel's sock_fprog.
private struct FilterProgram {
    let count: UInt16
    let instructions: UnsafeMutablePointer<UInt64>
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

struct TestAnswer {
    let head: String
    var body = ""

    init(head: String) { self.head = head }

    var status: Int { head.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0 }

    var lines: [Substring] { head.split(separator: "\r\n") }

    func field(_ name: String) -> String? { fields(name).first }

    func fields(_ name: String) -> [String] {
        lines.dropFirst().compactMap { line in
            guard let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name.lowercased()
            else { return nil }
            return String(line[line.index(after: colon)...].drop { $0 == " " })
        }
    }
}
