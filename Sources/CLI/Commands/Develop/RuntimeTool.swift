import Control
import Foundation

/// Runs the programs of the runtime that work beside an app: none of them loads its code.
struct RuntimeTool {
    let deno: URL
    let runtime: URL

    /// A process that has not been started, with what all of them need.
    func process(_ script: String, permissions: [String], _ arguments: [String] = []) -> Process {
        let process = Process()
        process.executableURL = deno
        process.arguments =
            ["run", "--no-prompt", "--no-remote", "--no-lock", "--quiet"] + permissions
            + [runtime.appending(path: script).path] + arguments
        var environment = ["NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"]
        for name in ["PATH", "HOME", "TMPDIR", "DENO_DIR", "XDG_CACHE_HOME"] {
            environment[name] = ProcessInfo.processInfo.environment[name]
        }
        process.environment = environment
        return process
    }

    /// Runs one to its end and gives back what it wrote.
    ///
    /// - Throws: ``MartletError`` with its own words.
    func run(
        _ script: String,
        permissions: [String],
        _ arguments: [String] = [],
        input: Data = Data()
    ) throws -> Data {
        let process = process(script, permissions: permissions, arguments)
        let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = stderr
        try process.run()
        // The description is written beside the reading: neither side waits for the other with a full pipe.
        DispatchQueue.global().async {
            try? stdin.fileHandleForWriting.write(contentsOf: input)
            try? stdin.fileHandleForWriting.close()
        }
        let errors = ErrorText()
        DispatchQueue.global().async { errors.set(stderr.fileHandleForReading.readDataToEndOfFile()) }
        let output = stdout.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw MartletError(.checkFailed, "\(script): \(errors.text)")
        }
        return output
    }

    /// What a program wrote to standard error, read on a thread of its own.
    private final class ErrorText: Sendable {
        private let done = DispatchSemaphore(value: 0)
        // Written before the semaphore is signalled, read after.
        private nonisolated(unsafe) var data = Data()

        func set(_ data: Data) {
            self.data = data
            done.signal()
        }

        var text: String {
            _ = done.wait(timeout: .now() + 5)
            return String(decoding: data.prefix(4000), as: UTF8.self).trimmingCharacters(
                in: .whitespacesAndNewlines
            )
        }
    }
}
