package import Control
import CSandbox
package import Foundation
import Synchronization

/// The log of one app: JSON lines in a few files of limited size, the newest in `current.jsonl`, older ones in `1.jsonl`,
/// `2.jsonl`, ….
package final class AppLog: Sendable {
    package struct Limits: Sendable, Equatable {
        package var fileBytes = 4 << 20
        /// Files besides the current one.
        package var oldFiles = 3
        /// Records that a reader who does not keep up may be behind; older ones are lost to it.
        package var followerRecords = 4096

        package init() {}
    }

    package let app: ApplicationID
    private let folder: String
    private let limits: Limits
    private let state: Mutex<State>

    private struct State {
        var descriptor: Int32 = -1
        var bytes = 0
        var allowance: LogAllowance
        var followers: [Int: AsyncThrowingStream<LogRecord, any Error>.Continuation] = [:]
        var nextFollower = 0
        var lastFailure: SystemError?
    }

    package init(app: ApplicationID, folder: String, limits: Limits = Limits()) {
        self.app = app
        self.folder = folder
        self.limits = limits
        state = Mutex(State(allowance: LogAllowance(now: uptime())))
    }

    deinit {
        let descriptor = state.withLock(\.descriptor)
        if descriptor >= 0 { csandbox_close(descriptor) }
    }

    /// Writes a record of the app's output, within its allowance.
    package func write(_ record: LogRecord) { append(record, isLimited: true) }

    /// Writes what the platform has to say, always.
    package func note(_ message: String, version: VersionID?, level: LogRecord.Level = .info) {
        let record = LogRecord(
            time: Date(),
            app: app,
            version: version,
            requestID: nil,
            stream: .system,
            level: level,
            message: message
        )
        append(record, isLimited: false)
    }

    /// Whether nobody would miss the object.
    package var isUnused: Bool { state.withLock { $0.followers.isEmpty } }

    // MARK: - Reading

    /// The records since a time, oldest first; without one the last `tail`.
    package func records(since: Date?, tail: Int) -> [LogRecord] {
        state.withLock { _ in read(since: since, tail: tail) }
    }

    /// The records since a time, and all that come later.
    package func follow(since: Date?, tail: Int) -> AsyncThrowingStream<LogRecord, any Error> {
        let (stream, continuation) = AsyncThrowingStream<LogRecord, any Error>.makeStream(
            bufferingPolicy: .bufferingNewest(max(limits.followerRecords, tail))
        )
        // With the lock held, so that nothing is lost or doubled between the file and what comes.
        let key = state.withLock { state in
            for record in read(since: since, tail: tail) { continuation.yield(record) }
            state.followers[state.nextFollower] = continuation
            state.nextFollower += 1
            return state.nextFollower - 1
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLock { $0.followers.removeValue(forKey: key) }
        }
        return stream
    }

    /// Ends all followers' streams.
    package func close() {
        let followers = state.withLock { state in
            defer { state.followers = [:] }
            return Array(state.followers.values)
        }
        for follower in followers { follower.finish() }
    }

    private func read(since: Date?, tail: Int) -> [LogRecord] {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .secondsSince1970
        var records: [LogRecord] = []
        for index in (0...limits.oldFiles).reversed() {
            guard let data = FileManager.default.contents(atPath: path(index)) else { continue }
            var lines = data.split(separator: UInt8(ascii: "\n"))
            if since == nil && lines.count > tail { lines.removeFirst(lines.count - tail) }
            for line in lines {
                // A line that a crash cut off is no record.
                guard let record = try? decoder.decode(LogRecord.self, from: line) else { continue }
                if let since, record.time < since { continue }
                records.append(record)
            }
        }
        if since == nil && records.count > tail { records.removeFirst(records.count - tail) }
        return records
    }

    // MARK: - Writing

    private func append(_ record: LogRecord, isLimited: Bool) {
        let now = uptime()
        state.withLock { state in
            if isLimited {
                switch state.allowance.take(record.message.utf8.count + 160, now: now) {
                case .drop: return
                case .write(let dropped) where dropped > 0:
                    var note = record
                    note.stream = .system
                    note.requestID = nil
                    note.level = .warn
                    note.message =
                        "\(dropped) lines were dropped: the app may log \(state.allowance.bytesPerSecond / 1024) KiB a second"
                    put(note, &state)
                case .write: break
                }
            }
            put(record, &state)
        }
    }

    private func put(_ record: LogRecord, _ state: inout State) {
        for follower in state.followers.values { follower.yield(record) }
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .secondsSince1970
        guard var line = try? encoder.encode(record) else { return }  // All of it can be encoded.
        line.append(UInt8(ascii: "\n"))
        do {
            try open(&state)
            if state.bytes + line.count > limits.fileBytes && state.bytes > 0 { try rotate(&state) }
            let count = line.withUnsafeBytes { writeBytes(state.descriptor, $0) }
            state.bytes += Int(try SystemError.check(count, "write to \(path(0))"))
            state.lastFailure = nil
        } catch {
            // A full disk must not stop the app. What is in the file ends with a whole line as soon as there is room.
            state.lastFailure = error
            if state.descriptor >= 0 { csandbox_close(state.descriptor) }
            state.descriptor = -1
        }
    }

    private func open(_ state: inout State) throws(SystemError) {
        guard state.descriptor < 0 else { return }
        if mkdir(folder, 0o700) != 0, errno != EEXIST {
            throw SystemError(errno, "make the folder \(folder)")
        }
        state.descriptor = try SystemError.check(csandbox_open_append(path(0)), "open \(path(0))")
        var info = stat()
        state.bytes = fstat(state.descriptor, &info) == 0 ? Int(info.st_size) : 0
    }

    private func rotate(_ state: inout State) throws(SystemError) {
        csandbox_close(state.descriptor)
        state.descriptor = -1
        for index in (0..<limits.oldFiles).reversed() { rename(path(index), path(index + 1)) }
        try open(&state)
    }

    private func path(_ index: Int) -> String {
        index == 0 ? folder + "/current.jsonl" : folder + "/\(index).jsonl"
    }
}
