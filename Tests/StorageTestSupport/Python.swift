import Foundation
import Supervision
import Synchronization

/// Runs a program to its end and gives its lines; throws when it fails.
package func run(
    _ executable: String,
    _ arguments: [String],
    environment: [String: String] = [:],
    folder: String? = nil
) async throws -> [String] {
    let lines = Lines()
    let process = try ChildProcess(
        .init(executable: executable, arguments: arguments, environment: environment, folder: folder)
    ) { lines.add($0) }
    let status = await process.wait()
    // The last lines may still be on their way from the pipe to the queue that reads it.
    try await Task.sleep(for: .milliseconds(50))
    guard status.isSuccess else {
        throw CommandFailure(command: executable, status: status, lines: lines.all)
    }
    return lines.all
}

/// Runs a Python script with boto3, by the pinned Python of the tests' tools.
package func runPython(_ script: String, environment: [String: String]) async throws -> [String] {
    try await run(tool("python3", group: "test"), ["-c", script], environment: environment)
}

package struct CommandFailure: Error, CustomStringConvertible {
    let command: String
    let status: ChildProcess.ExitStatus
    package let lines: [String]

    package var description: String { "\(command): \(status)\n" + lines.joined(separator: "\n") }
}

/// Lines that a program wrote, as they come.
package final class Lines: Sendable {
    private let lines = Mutex<[String]>([])

    package init() {}

    package var all: [String] { lines.withLock { $0 } }

    package func add(_ line: String) { lines.withLock { $0.append(line) } }
}
