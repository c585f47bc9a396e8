import Foundation
import Glibc
import Supervision
import Synchronization

/// A process of the cluster under test, which can be killed, frozen and started again.
final class Part: Sendable {
    let name: String
    private let command: ChildProcess.Command
    private let state = Mutex(State())

    private struct State {
        var process: ChildProcess?
        var lines: [String] = []
    }

    private static let keptLines = 200

    init(_ name: String, _ command: ChildProcess.Command) {
        self.name = name
        self.command = command
    }

    func start() throws {
        let process = try ChildProcess(command) { [self] line in
            state.withLock { state in
                state.lines.append(line)
                if state.lines.count > Self.keptLines { state.lines.removeFirst() }
            }
        }
        state.withLock { $0.process = process }
    }

    var isRunning: Bool { state.withLock { $0.process.map { $0.status == nil } ?? false } }

    /// The last of what it printed.
    var lines: [String] { state.withLock { $0.lines } }

    /// Ends it as a crash would.
    func kill() async { await end(SIGKILL, grace: .seconds(10)) }

    /// Ends it as an operator would.
    func stop() async { await end(SIGTERM, grace: .seconds(60)) }

    /// Stops it from running, without ending anything, until ``thaw()``.
    func freeze() { state.withLock { $0.process?.send(SIGSTOP) } }

    func thaw() { state.withLock { $0.process?.send(SIGCONT) } }

    private func end(_ signal: Int32, grace: Duration) async {
        let process = state.withLock { state in
            defer { state.process = nil }
            return state.process
        }
        process?.send(SIGCONT)
        _ = await process?.stop(signal: signal, grace: grace)
    }
}
