import Foundation
import Glibc
import Synchronization

/// Passes the bytes of connections on to a port of this machine, until it is cut: then its sockets drop what arrives, so
/// that the kernel acknowledges nothing, and nobody is told.
final class LinkRelay: Sendable {
    let port: UInt16
    private let listener: Int32
    private let state = Mutex<State>(State())

    /// Descriptors stay open as long as the relay, so that none is used again while it knows it; there are few.
    private struct State {
        var near: [Int32] = []
        var far: [Int32] = []
        var isStopped = false
    }

    init(to target: UInt16) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.address(port: 0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { [listener] in
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, $0, &size) == 0
            }
        }
        guard isBound else { throw CocoaError(.fileReadUnknown) }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in accept(target) }
    }

    deinit {
        state.withLock { $0.near + $0.far }.forEach { close($0) }
    }

    /// Nothing more arrives from who connected.
    func cutNear() { state.withLock { $0.near }.forEach(Self.dropPackets) }

    /// Nothing more arrives from the target.
    func cutFar() { state.withLock { $0.far }.forEach(Self.dropPackets) }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        let open = state.withLock { state in
            state.isStopped = true
            return state.near + state.far
        }
        // Threads that wait for bytes go on and end.
        for descriptor in open { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }

    private func accept(_ target: UInt16) {
        while true {
            let near = Glibc.accept(listener, nil, nil)
            guard near >= 0 else { break }
            let far = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = Self.address(port: target)
            let isConnected = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(far, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            let isWanted = state.withLock { state in
                guard isConnected, !state.isStopped else { return false }
                state.near.append(near)
                state.far.append(far)
                return true
            }
            guard isWanted else {
                close(near)
                close(far)
                continue
            }
            Thread.detachNewThread { [self] in pass(near, far) }
            Thread.detachNewThread { [self] in pass(far, near) }
        }
        close(listener)
    }

    private func pass(_ from: Int32, _ to: Int32) {
        var bytes = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let got = recv(from, &bytes, bytes.count, 0)
            guard got > 0 else { break }
            var offset = 0
            while offset < got {
                let sent = send(to, Array(bytes[offset..<got]), got - offset, Int32(MSG_NOSIGNAL))
                guard sent > 0 else { return }
                offset += sent
            }
        }
        shutdown(to, Int32(SHUT_WR))
    }

    private static func address(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    /// Gives a socket a filter that lets no packet through.
    private static func dropPackets(to descriptor: Int32) {
        // One instruction of the classic filters, as the kernel lays it out: BPF_RET | BPF_K, with 0 bytes.
        var instruction: UInt64 = 6
        let result = withUnsafeMutablePointer(to: &instruction) {
            var program = FilterProgram(count: 1, instructions: $0)
            let size = socklen_t(MemoryLayout<FilterProgram>.size)
            return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, size)
        }
        precondition(result == 0, "the kernel takes no filter: error \(errno)")
    }
}

/// The kernel's sock_fprog.
private struct FilterProgram {
    let count: UInt16
    let instructions: UnsafeMutablePointer<UInt64>
}
