import Foundation
import Glibc
import Synchronization

/// One long-running child, which is always reaped.
final class LockedProcess: Sendable {
    private let state = Mutex<Process?>(nil)

    var isRunning: Bool { state.withLock { $0?.isRunning == true } }

    /// Nil while it runs, and before it was started.
    var exitStatus: Int32? { state.withLock { $0.flatMap { $0.isRunning ? nil : $0.terminationStatus } } }

    var identifier: Int32? { state.withLock { $0?.processIdentifier } }

    func start(_ program: URL, _ arguments: [String], environment: [String: String], output: URL) throws {
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        let handle = try FileHandle(forWritingTo: output)
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        state.withLock { $0 = process }
    }

    /// Sends a signal and waits for the end; after a minute the process is killed.
    @discardableResult
    func end(_ signal: Int32) async -> Int32 {
        guard let pid = identifier, isRunning else { return 0 }
        kill(pid, signal)
        for _ in 0..<600 {
            if !isRunning { break }
            // An early end of the sleep only looks again sooner.
            try? await Task.sleep(for: .milliseconds(100))
        }
        if isRunning { kill(pid, SIGKILL) }
        while isRunning { try? await Task.sleep(for: .milliseconds(50)) }
        return state.withLock { $0?.terminationStatus ?? 0 }
    }
}
