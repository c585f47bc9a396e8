import Glibc
import Synchronization

/// A server for the proxy to forward to, on a unix socket or TCP.
///
/// Each connection is given to `serve` on a thread.
final class TestUpstream: Sendable {
    let path: String?
    let port: UInt16
    private let listener: Int32
    private let isStopped = Atomic<Bool>(false)
    private let heads = Mutex<[String]>([])
    private let connections = Atomic<Int>(0)
    private let open = Mutex<[Int32]>([])

    /// Every request head that `serve` has noted.
    var receivedHeads: [String] { heads.withLock { $0 } }
    var connectionCount: Int { connections.load(ordering: .relaxed) }

    init(path: String? = nil, serve: @escaping @Sendable (TestSocket, TestUpstream) -> Void) throws {
        self.path = path
        if let path {
            listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            unlink(path)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let bound = withUnsafePointer(to: &address) { [listener] in
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            guard bound == 0 else { throw TestFailure("bind \(path)") }
            port = 0
        } else {
            listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let bound = withUnsafeMutablePointer(to: &address) { [listener] in
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, $0, length) == 0 && getsockname(listener, $0, &length) == 0
                }
            }
            guard bound else { throw TestFailure("bind") }
            port = UInt16(bigEndian: address.sin_port)
        }
        listen(listener, 256)
        thread { [self] in accept(serve) }
    }

    func note(_ head: String) { heads.withLock { $0.append(head) } }

    /// Stops listening; connections stay.
    ///
    /// Removes the socket, so that connecting is refused from now on.
    func stop() {
        guard !isStopped.exchange(true, ordering: .relaxed) else { return }
        shutdown(listener, Int32(SHUT_RDWR))
        if let path { unlink(path) }
    }

    /// Nobody can connect any more, and nobody is told.
    func dropIncoming() { dropPackets(to: listener) }

    private func accept(_ serve: @escaping @Sendable (TestSocket, TestUpstream) -> Void) {
        while !isStopped.load(ordering: .relaxed) {
            let descriptor = Glibc.accept(listener, nil, nil)
            if descriptor < 0 {
                if errno == EINTR || errno == ECONNABORTED { continue }
                break
            }
            connections.add(1, ordering: .relaxed)
            let socket = TestSocket(descriptor: descriptor)
            thread { [self] in
                serve(socket, self)
                socket.close()
            }
        }
        _ = close(listener)
    }

    /// Answers every request with `answer`, whatever it was, after reading its body; keeps connections.
    static func answering(
        _ path: String?,
        _ answer: @escaping @Sendable (String, String) -> String
    ) throws -> TestUpstream {
        try TestUpstream(path: path) { socket, upstream in
            while let head = socket.readHead() {
                upstream.note(head)
                let fields = TestAnswer(head: head)
                var body = ""
                if let length = fields.field("content-length").flatMap({ Int($0) }) {
                    body = String(decoding: socket.read(length), as: UTF8.self)
                } else if fields.field("transfer-encoding") != nil {
                    body = socket.readChunks()
                }
                guard socket.send(answer(head, body)) else { return }
            }
        }
    }
}

/// Runs `body` on a thread of its own.
func thread(_ body: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let box = Unmanaged.passRetained(ThreadBody(body))
    let result = pthread_create(
        &thread,
        nil,
        { argument in
            guard let argument else { return nil }
            Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run()
            return nil
        },
        box.toOpaque()
    )
    precondition(result == 0, "the system has no more threads")
    pthread_detach(thread)
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// An answer of plain text.
func ok(_ body: String, extra: String = "") -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: \(body.utf8.count)\r\n\(extra)\r\n\(body)"
}
