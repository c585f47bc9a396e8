import CProxy
import Glibc
import Synchronization

/// Writes full buffers to their destination on a thread of its own, so that a slow disk does not hold up a loop.
final class AccessLogWriter: Sendable {
    /// Buffers that wait at most; what comes on top is dropped and counted.
    static let queueLimit = 32

    private let destination: Int32
    private let ownsDestination: Bool
    private let wakeup: Int32
    private let state = Mutex<(queue: [Batch], isClosed: Bool)>(([], false))
    private let dropped = Atomic<UInt64>(0)
    private let written = Atomic<UInt64>(0)

    init(_ destination: AccessLogDestination) throws {
        switch destination {
        case .descriptor(let descriptor):
            self.destination = descriptor
            ownsDestination = false
        case .file(let path):
            let descriptor = cproxy_open_append(path)
            guard descriptor >= 0 else {
                throw ProxyError(
                    code: .system,
                    message:
                        "open the access log \(path): \(errorText(-descriptor)); choose a file that can be written",
                    errorNumber: -descriptor
                )
            }
            self.destination = descriptor
            ownsDestination = true
        }
        wakeup = cproxy_eventfd()
    }

    /// Lines that were dropped because the destination was too slow or failed.
    var droppedLines: UInt64 { dropped.load(ordering: .relaxed) }
    var writtenLines: UInt64 { written.load(ordering: .relaxed) }

    func drop(lines: Int) { dropped.add(UInt64(lines), ordering: .relaxed) }

    /// Whole lines, and how many they are.
    struct Batch: Sendable {
        let bytes: [UInt8]
        let lines: Int
    }

    /// False where the queue is full: the lines are lost.
    func enqueue(_ batch: Batch) -> Bool {
        let isTaken = state.withLock { state in
            guard !state.isClosed, state.queue.count < Self.queueLimit else { return false }
            state.queue.append(batch)
            return true
        }
        if isTaken { cproxy_eventfd_signal(wakeup) }
        return isTaken
    }

    func close() {
        state.withLock { $0.isClosed = true }
        cproxy_eventfd_signal(wakeup)
    }

    /// The thread's work: ends after `close`, when everything is written.
    func run() {
        cproxy_name_thread("proxy-log")
        var wait = pollfd(fd: wakeup, events: Int16(POLLIN), revents: 0)
        while true {
            _ = poll(&wait, 1, 1000)
            cproxy_eventfd_drain(wakeup)
            let (batches, isClosed) = state.withLock { state in
                let batches = state.queue
                state.queue = []
                return (batches, state.isClosed)
            }
            for batch in batches { write(batch) }
            if isClosed && batches.isEmpty { break }
            if isClosed { cproxy_eventfd_signal(wakeup) }
        }
        if ownsDestination { cproxy_close(destination) }
        cproxy_close(wakeup)
    }

    private func write(_ batch: Batch) {
        if cproxy_write_all(destination, batch.bytes, batch.bytes.count) == Int64(batch.bytes.count) {
            written.add(UInt64(batch.lines), ordering: .relaxed)
        } else {
            drop(lines: batch.lines)
        }
    }
}

/// One loop's lines, gathered until there is enough to write.
struct AccessLogBuffer {
    private static let capacity = 64 * 1024
    private static let lineLimit = 8 * 1024

    private let writer: AccessLogWriter
    private let bytes = MutableBytes.allocate(capacity: capacity)
    private(set) var count = 0
    private var lines = 0
    /// Of the text in `time`, since 1970.
    private var millisecond: Int64 = -1
    private var time: (UInt64, UInt64, UInt64) = (0, 0, 0)

    init(writer: AccessLogWriter) { self.writer = writer }

    func free() { bytes.deallocate() }

    /// Calls `body` with a writer that has room for one line of at most 8 KB.
    @inline(__always)
    mutating func line(milliseconds: Int64, _ body: (inout ByteWriter) -> Void) {
        if count + Self.lineLimit > Self.capacity { flush() }
        var line = ByteWriter(bytes + count)
        line.put("{\"time\":\"")
        putTime(milliseconds, &line)
        body(&line)
        count += line.count
        lines += 1
    }

    /// `2026-11-24T06:07:08.123Z`, made once for each millisecond.
    @inline(__always)
    private mutating func putTime(_ now: Int64, _ line: inout ByteWriter) {
        if now != millisecond { makeTime(now) }
        withUnsafePointer(to: &time) {
            $0.withMemoryRebound(to: UInt8.self, capacity: 24) { line.put($0, 24) }
        }
    }

    private mutating func makeTime(_ now: Int64) {
        let isNewSecond = now / 1000 != millisecond / 1000 || millisecond < 0
        millisecond = now
        withUnsafeMutablePointer(to: &time) {
            $0.withMemoryRebound(to: CChar.self, capacity: 24) { text in
                if isNewSecond { cproxy_format_second(now / 1000, text) }
                let rest = Int(now % 1000)
                text[19] = 0x2E
                text[20] = CChar(truncatingIfNeeded: rest / 100) + 0x30
                text[21] = CChar(truncatingIfNeeded: rest / 10 % 10) + 0x30
                text[22] = CChar(truncatingIfNeeded: rest % 10) + 0x30
                text[23] = 0x5A
            }
        }
    }

    mutating func flush() {
        guard count > 0 else { return }
        let copy = [UInt8](unsafeUninitializedCapacity: count) { buffer, copied in
            if let base = buffer.baseAddress { memcpy(base, bytes, count) }
            copied = count
        }
        let batch = AccessLogWriter.Batch(bytes: copy, lines: lines)
        if !writer.enqueue(batch) { writer.drop(lines: lines) }
        count = 0
        lines = 0
    }
}

/// What the system calls an error.
func errorText(_ number: Int32) -> String {
    guard let text = strerror(number) else { return "error \(number)" }
    return String(cString: text)
}
