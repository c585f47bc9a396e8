import Glibc
import Logging
import NIOCore
import Storage
import Supervision
import Synchronization

/// One run of Litestream: a child process with a socket.
final class LitestreamProcess: Sendable {
    /// The version that all this was built and tested with.
    static let expectedVersion = "0.5.17"
    private static let readinessLimit: Duration = .seconds(20)

    let child: ChildProcess
    private let output: RecentLines

    /// Starts Litestream with a configuration for `socket`; nothing has been asked of it yet.
    init(settings: LitestreamSettings, socket: String, logger: Logger) async throws {
        let file = "\(settings.stateFolder)/litestream.yml"
        let configuration = settings.configuration(socket: socket)
        try await blocking {
            try FileSystem.remove(socket)
            let config = try OpenFile(file, flags: O_WRONLY | O_CREAT | O_TRUNC)
            try config.write(.init(string: configuration))
        }
        let output = RecentLines()
        self.output = output
        child = try ChildProcess(
            .init(
                executable: settings.executable,
                arguments: ["replicate", "-config", file],
                environment: settings.environment,
                folder: settings.workingFolder
            )
        ) { line in
            output.add(line)
            // Litestream says at every start that its configuration names no databases, which is as it should be.
            guard !line.contains("no databases specified") else { return }
            logger.notice("replication reports", metadata: ["line": "\(line)"])
        }
    }

    /// Waits until the socket answers, and gives the version.
    func waitUntilReady(_ control: LitestreamControl) async throws -> String {
        let deadline = ContinuousClock.now + Self.readinessLimit
        while true {
            do {
                return try await control.version()
            } catch {
                if Task.isCancelled { throw CancellationError() }
                guard child.status == nil, ContinuousClock.now < deadline else {
                    throw failure("start", error)
                }
                try await Task.sleep(for: .milliseconds(10))
            }
        }
    }

    func failure(_ action: String, _ cause: (any Error)?) -> ReplicationError {
        let ended = child.status.map { "it ended with \($0)" } ?? "it did not answer"
        let said = output.all.suffix(5).joined(separator: " | ")
        return ReplicationError(
            .unavailable,
            "\(action) Litestream: \(ended); its last lines: \(said)",
            cause: cause
        )
    }
}

/// The last lines that a program wrote.
final class RecentLines: Sendable {
    private let lines = Mutex<[String]>([])
    private static let limit = 200

    var all: [String] { lines.withLock { $0 } }

    func add(_ line: String) {
        lines.withLock {
            $0.append(line)
            if $0.count > Self.limit { $0.removeFirst($0.count - Self.limit) }
        }
    }
}
