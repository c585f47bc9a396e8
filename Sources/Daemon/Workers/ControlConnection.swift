import CSandbox
package import Dispatch
import Foundation
import Synchronization

/// The host's end of a worker's control socket: it listens until the harness has connected, then talks with it alone.
package final class ControlConnection: Sendable {
    private enum State {
        case listening(Int32)
        case connected(Int32, ReadSource)
        case closed
    }

    /// The harness's process id as this process sees it, once it has connected.
    package let peer = Once<Int32>()

    private let path: String
    private let queue: DispatchQueue
    private let state: Mutex<State>
    private let listener = Mutex<ReadSource?>(nil)
    private let onMessage: @Sendable (WorkerMessage) -> Void

    private static let maximumLineBytes = 1024 * 1024

    /// Listens at `path`.
    ///
    /// - Throws: ``SystemError``.
    package init(
        path: String,
        queue: DispatchQueue,
        onMessage: @escaping @Sendable (WorkerMessage) -> Void
    ) throws {
        self.path = path
        self.queue = queue
        self.onMessage = onMessage
        let fd = try SystemError.check(csandbox_listen_unix(path, 0o600, 1), "listen on \(path)")
        state = Mutex(.listening(fd))
        let source = ReadSource(
            fd,
            queue: queue,
            onReadable: { [weak self] source in
                let connection = csandbox_accept(fd)
                if connection == -EAGAIN { return }
                source.cancel()
                guard connection >= 0 else { return }
                guard let self else { return csandbox_close(connection) }
                self.connected(connection)
            },
            onEnd: { csandbox_close(fd) }
        )
        listener.withLock { $0 = source }
        source.activate()
    }

    /// Sends a line.
    ///
    /// - Throws: ``SystemError`` when the harness is not there, or does not read.
    package func send(_ message: HostMessage) async throws {
        let line = try message.encoded()
        try await onQueue(queue) { try self.write(line) }
    }

    /// Ends the connection; the harness then exits.
    package func close() {
        listener.withLock { source in
            source?.cancel()
            source = nil
        }
        let source: ReadSource? = state.withLock { state in
            defer { state = .closed }
            if case .connected(_, let source) = state { return source }
            return nil
        }
        source?.cancel()
        unlink(path)
    }

    private func write(_ line: Data) throws {
        let fd = state.withLock { if case .connected(let fd, _) = $0 { fd } else { Int32(-1) } }
        guard fd >= 0 else { throw SystemError(ENOTCONN, "talk to the worker at \(path)") }
        try line.withUnsafeBytes { bytes in
            var sent = 0
            var patience = 200
            while sent < bytes.count {
                let count = csandbox_send(fd, bytes.baseAddress.map { $0 + sent }, UInt64(bytes.count - sent))
                if count == -Int64(EAGAIN), patience > 0 {
                    patience -= 1
                    usleep(5000)
                    continue
                }
                sent += Int(try SystemError.check(count, "write to the worker at \(path)"))
            }
        }
    }

    private func connected(_ fd: Int32) {
        // One harness, one connection: nobody else can come later.
        unlink(path)
        // Only the source's queue, which is serial, touches these two.
        nonisolated(unsafe) var splitter = LineSplitter(maximumBytes: Self.maximumLineBytes)
        nonisolated(unsafe) var key: String?
        let source = ReadSource(
            fd,
            queue: queue,
            onReadable: { [onMessage] source in
                let isOver = readOnce(fd) { bytes in
                    splitter.feed(bytes) { line in
                        guard let message = WorkerMessage(line: line, key: key) else { return }
                        if case .ready(let own, _) = message { key = own }
                        onMessage(message)
                    }
                }
                if isOver { source.cancel() }
            },
            onEnd: { csandbox_close(fd) }
        )
        let isWanted = state.withLock { state in
            guard case .listening = state else { return false }
            state = .connected(fd, source)
            return true
        }
        source.activate()
        if isWanted { peer.set(csandbox_peer(fd)) } else { source.cancel() }
    }
}
