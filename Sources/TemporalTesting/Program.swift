package import Foundation
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// A program that runs for as long as it is needed and never longer: also when this process is killed.
///
/// A shell stands between: it starts the program, tells its process id, and ends it when its own standard input
/// closes, which the kernel does when this process ends in whatever way.
package final class Program: Sendable {
    private static let script = """
        cd "$HOME" || exit 1
        exec 3<&0
        "$@" <&- 3<&- & child=$!
        echo $child
        exec >&- 2>&-
        { read -r _ <&3; kill -TERM $child 2>&-; sleep 5 <&-; kill -KILL $child 2>&-; } &
        wait $child
        kill $! 2>&-
        if [ -n "$REMOVE" ] && [ "$(cut -d' ' -f4 /proc/$$/stat)" != "$PARENT" ]; then rm -rf "$REMOVE"; fi
        """

    package let log: URL
    private let shell: pid_t
    private let hasEnded = Mutex(false)
    private let input: Pipe
    /// The program's own process id.
    package let processID: Int32

    /// Starts a program in a folder, which is its home too; its output goes to `NAME.log` there.
    ///
    /// With `removesFolder` the folder goes when this process ends without having stopped the program.
    ///
    /// - Throws: ``TestServerError`` when it cannot be started.
    package init(
        _ program: String,
        _ arguments: [String],
        folder: URL,
        name: String,
        removesFolder: Bool = false
    ) throws {
        log = folder.appending(path: "\(name).log")
        if !FileManager.default.fileExists(atPath: log.path) { try Data().write(to: log) }
        let output = try FileHandle(forWritingTo: log)
        try output.seekToEnd()
        let answer = Pipe()
        input = Pipe()
        // The program's output goes to the log, the shell's to us.
        let redirect = ["/bin/sh", "-c", "exec \"$@\" >>\"$LOG\" 2>&1", "sh", program]
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        shell = try Self.spawn(
            ["/bin/sh", "-c", Self.script, "sh"] + redirect + arguments,
            environment: ["PATH=\(path)", "HOME=\(folder.path)", "LOG=\(log.path)"]
                + (removesFolder ? ["REMOVE=\(folder.path)", "PARENT=\(getpid())"] : []),
            descriptors: [
                input.fileHandleForReading.fileDescriptor, answer.fileHandleForWriting.fileDescriptor,
                output.fileDescriptor,
            ]
        )
        try answer.fileHandleForWriting.close()
        try input.fileHandleForReading.close()
        let line = answer.fileHandleForReading.availableData
        guard
            let id = Int32(
                String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            )
        else {
            throw TestServerError("start \(program): the shell did not say its process id")
        }
        processID = id
    }

    package var isRunning: Bool {
        hasEnded.withLock { hasEnded in
            var status: Int32 = 0
            if !hasEnded, waitpid(shell, &status, WNOHANG) == shell { hasEnded = true }
            return !hasEnded
        }
    }

    package func signal(_ signal: Int32) { if isRunning { kill(processID, signal) } }

    /// Ends the program, kindly unless told otherwise, and waits until it is gone.
    package func stop(signal: Int32 = SIGTERM) async {
        self.signal(signal)
        let deadline = ContinuousClock.now + .seconds(5)
        while isRunning, ContinuousClock.now < deadline { await pause() }
        self.signal(SIGKILL)
        while isRunning { await pause() }
        // Closing what is closed already is all that can fail here.
        try? input.fileHandleForWriting.close()
    }

    /// The last lines of what the program wrote.
    package var lastOutput: String {
        let text = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").suffix(10).joined(separator: "\n")
    }

    /// Waits a little also when the task is cancelled: a program has to be gone before its folder is.
    private func pause() async {
        await Task.detached { try? await Task.sleep(for: .milliseconds(10)) }.value
    }

    /// Starts a program in a session of its own, without the signals that this thread blocks and the files that this
    /// process has open; Foundation's `Process` would hand both down.
    private static func spawn(
        _ arguments: [String],
        environment: [String],
        descriptors: [Int32]
    ) throws -> pid_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        // glibc's POSIX_SPAWN_SETSID is not imported: it is a macro of 0x80.
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | 0x80
        posix_spawnattr_setflags(&attributes, Int16(flags))
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (target, descriptor) in descriptors.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(target))
        }
        // What cannot be listed stays open, which costs a descriptor in a test's server.
        let open = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        for descriptor in open.compactMap({ Int32($0) }) where descriptor >= descriptors.count {
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        var argumentPointers = arguments.map { strdup($0) } + [nil]
        var environmentPointers = environment.map { strdup($0) } + [nil]
        defer { for pointer in argumentPointers + environmentPointers { free(pointer) } }
        var process: pid_t = 0
        let status = posix_spawn(
            &process,
            arguments[0],
            &actions,
            &attributes,
            &argumentPointers,
            &environmentPointers
        )
        guard status == 0 else {
            throw TestServerError("start \(arguments[0]): \(String(cString: strerror(status)))")
        }
        return process
    }

    /// A program of this name: where the environment says, in `.tools` of this folder or one above, or in `PATH`.
    package static func find(_ name: String, variable: String, group: String) throws -> String {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment[variable] { return path }
        var folders: [String] = []
        var folder = URL(filePath: FileManager.default.currentDirectoryPath)
        while folder.path != "/" {
            folders.append(folder.appending(path: ".tools/\(group)/bin").path)
            folder.deleteLastPathComponent()
        }
        folders += environment["PATH"]?.split(separator: ":").map(String.init) ?? []
        for folder in folders where FileManager.default.isExecutableFile(atPath: "\(folder)/\(name)") {
            return "\(folder)/\(name)"
        }
        throw TestServerError(
            "no program \(name) in .tools/\(group)/bin of \(FileManager.default.currentDirectoryPath) or above, nor in "
                + "PATH; `scripts/fetch-tools \(group)` installs it, \(variable) names another"
        )
    }

    /// Ports of the loopback address that nobody uses at the moment.
    package static func freePorts(_ count: Int) async throws -> [Int] {
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        var channels: [any Channel] = []
        for _ in 0..<count { channels.append(try await bootstrap.bind(host: "127.0.0.1", port: 0).get()) }
        let ports = channels.compactMap { $0.localAddress?.port }
        for channel in channels { try await channel.close() }
        return ports
    }
}

/// A server for tests that could not be started.
public struct TestServerError: Error, CustomStringConvertible {
    public var description: String

    init(_ description: String) { self.description = description }
}
