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
    await process.waitForOutput()
    guard status.isSuccess else {
        throw CommandFailure(command: executable, status: status, lines: lines.all)
    }
    return lines.all
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
