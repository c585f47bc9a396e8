import CSandbox
package import Dispatch
import Foundation
import Synchronization

/// How a process ended.
package enum ProcessEnd: Sendable, Equatable, CustomStringConvertible {
    case exited(status: Int32)
    case killed(signal: Int32)

    package var description: String {
        switch self {
        case .exited(let status): "exited with status \(status)"
        case .killed(let signal): "was ended by signal \(signal) (\(String(cString: strsignal(signal))))"
        }
    }
}

/// A program that this daemon has started: in a session of its own, always reaped, its output read in lines.
///
/// It is started on a thread that lives as long as the daemon, because `PR_SET_PDEATHSIG`, which bubblewrap uses to end a
/// sandbox with its parent, means the parent's thread.
package final class ChildProcess: Sendable {
    package struct Command: Sendable {
        package var path: String
        package var arguments: [String]
        package var environment: [String: String]
        package var directory: String?
        /// Open `cgroup.procs` files that the child enters.
        package var groups: [Int32] = []
        /// Descriptors that the child gets as 3, 4, ….
        package var kept: [Int32] = []
        package var openFiles: UInt64 = 0
        /// The network namespace that the child enters; -1 for this process's.
        package var network: Int32 = -1
        /// Whether all that the child starts ends with it, at whatever moment, where that is allowed; it can then be
        /// ended by SIGKILL alone.
        package var endsWithAll = false
        /// How long its threads run at most before others that wait get their turn (Linux 6.12); nil for as this process.
        package var turn: Duration?
        /// What of its output is read in a second; nil for anything.
        ///
        /// What is beyond makes it wait.
        package var outputBytesPerSecond: Int?

        package init(
            path: String,
            arguments: [String],
            environment: [String: String],
            directory: String? = nil
        ) {
            self.path = path
            self.arguments = arguments
            self.environment = environment
            self.directory = directory
        }
    }

    package enum Output: Sendable {
        case standard, error
    }

    /// A longer line of output is cut.
    package static let maximumLineBytes = 16 * 1024

    package let pid: Int32
    /// Ends with the process, after all of its output was handed over.
    package let end = Once<ProcessEnd>()

    private let descriptor: Int32
    private let queue: DispatchQueue
    /// Guards `descriptor` against use after its close.
    private let isOpen = Mutex(true)

    /// Starts the program.
    ///
    /// `queue`: where output is read and handed over; a slow `onLine` holds the writer back.
    /// `onLine`: gets each line without its end, on the queue.
    /// Throws ``SystemError``.
    package static func start(
        _ command: Command,
        queue: DispatchQueue,
        onLine: @escaping @Sendable (Output, ArraySlice<UInt8>) -> Void
    ) throws -> ChildProcess {
        var outputs: (out: [Int32], error: [Int32]) = ([-1, -1], [-1, -1])
        try SystemError.check(csandbox_pipe(&outputs.out), "make a pipe for \(command.path)")
        do {
            try SystemError.check(csandbox_pipe(&outputs.error), "make a pipe for \(command.path)")
        } catch {
            outputs.out.forEach(csandbox_close)
            throw error
        }
        let (out, error) = (outputs.out, outputs.error)
        let spawned = JobThread.spawn.run { spawn(command, output: out[1], error: error[1]) }
        csandbox_close(out[1])
        csandbox_close(error[1])
        switch spawned {
        case .failure(let failure):
            csandbox_close(out[0])
            csandbox_close(error[0])
            throw failure
        case .success(let (pid, descriptor)):
            let child = ChildProcess(pid: pid, descriptor: descriptor, queue: queue)
            let pace = command.outputBytesPerSecond.map { OutputPace(bytesPerSecond: $0, now: uptime()) }
            child.watch(output: out[0], error: error[0], pace, onLine)
            return child
        }
    }

    private init(pid: Int32, descriptor: Int32, queue: DispatchQueue) {
        self.pid = pid
        self.descriptor = descriptor
        self.queue = queue
    }

    /// Sends a signal; nothing happens when the process has ended.
    package func signal(_ number: Int32) {
        isOpen.withLock { isOpen in
            if isOpen { _ = csandbox_signal(descriptor, number) }
        }
    }

    /// Ends the process: SIGTERM, then after the grace SIGKILL.
    package func terminate(grace: Duration) async {
        signal(SIGTERM)
        if await end.wait(atMost: grace) == nil { signal(SIGKILL) }
        _ = await end.wait()
    }

    // MARK: - Watching

    private func watch(
        output: Int32,
        error: Int32,
        _ pace: OutputPace?,
        _ onLine: @escaping @Sendable (Output, ArraySlice<UInt8>) -> Void
    ) {
        let done = DispatchGroup()
        for (fd, kind) in [(output, Output.standard), (error, .error)] {
            done.enter()
            read(fd, kind, pace, onLine) { done.leave() }
        }
        done.enter()
        ReadSource(descriptor, queue: queue, onReadable: { $0.cancel() }, onEnd: { done.leave() }).activate()
        done.notify(queue: queue) {
            var (code, status): (Int32, Int32) = (0, 0)
            let result = csandbox_reap(self.pid, 1, &code, &status)
            self.isOpen.withLock { isOpen in
                isOpen = false
                csandbox_close(self.descriptor)
            }
            let isExit = result == 1 && code == CLD_EXITED
            self.end.set(isExit ? .exited(status: status) : .killed(signal: result == 1 ? status : SIGKILL))
        }
    }

    private func read(
        _ fd: Int32,
        _ kind: Output,
        _ pace: OutputPace?,
        _ onLine: @escaping @Sendable (Output, ArraySlice<UInt8>) -> Void,
        _ onEnd: @escaping @Sendable () -> Void
    ) {
        _ = csandbox_set_nonblocking(fd)
        // Only the source's queue, which is serial, touches these.
        nonisolated(unsafe) var splitter = LineSplitter(maximumBytes: Self.maximumLineBytes)
        nonisolated(unsafe) var pace = pace
        let source = ReadSource(
            fd,
            queue: queue,
            onReadable: { source in
                let isOver = readOnce(fd) { bytes in
                    splitter.feed(bytes) { onLine(kind, $0) }
                    if let rest = pace?.took(bytes.count, now: uptime()) { source.rest(for: rest) }
                }
                if isOver { source.cancel() }
            },
            onEnd: {
                splitter.finish { onLine(kind, $0) }
                csandbox_close(fd)
                onEnd()
            }
        )
        source.activate()
    }

    // MARK: - Starting

    private static func spawn(
        _ command: Command,
        output: Int32,
        error: Int32
    ) -> Result<(Int32, Int32), SystemError> {
        let arguments = CStrings([command.path] + command.arguments)
        let environment = CStrings(command.environment.map { "\($0.key)=\($0.value)" })
        var descriptor: Int32 = -1
        var step: Int32 = 0
        let pid = command.path.withCString { path in
            withOptionalCString(command.directory) { directory in
                command.groups.withUnsafeBufferPointer { groups in
                    command.kept.withUnsafeBufferPointer { kept in
                        var child = csandbox_child(
                            path: path,
                            arguments: arguments.pointer,
                            environment: environment.pointer,
                            input: -1,
                            output: output,
                            error: error,
                            kept: kept.baseAddress,
                            kept_count: Int32(kept.count),
                            groups: groups.baseAddress,
                            group_count: Int32(groups.count),
                            directory: directory,
                            open_files: command.openFiles,
                            network: command.network,
                            own_processes: command.endsWithAll ? 1 : 0,
                            turn: command.turn.map { UInt64($0 / .nanoseconds(1)) } ?? 0
                        )
                        return csandbox_spawn(&child, &descriptor, &step)
                    }
                }
            }
        }
        guard pid < 0 else { return .success((pid, descriptor)) }
        let what =
            switch Int(step) {
            case CSANDBOX_STEP_GROUP: "enter the control groups for \(command.path)"
            case CSANDBOX_STEP_NETWORK: "enter the network for \(command.path)"
            case CSANDBOX_STEP_DIRECTORY: "change to \(command.directory ?? ".") for \(command.path)"
            case CSANDBOX_STEP_DESCRIPTORS: "set up the descriptors of \(command.path)"
            default: "run \(command.path)"
            }
        return .failure(SystemError(-pid, what))
    }
}

private func withOptionalCString<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result
{
    guard let text else { return body(nil) }
    return text.withCString { body($0) }
}

/// A list of C strings that ends with NULL.
private final class CStrings {
    let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointer = .allocate(capacity: strings.count + 1)
        for (index, string) in strings.enumerated() { pointer[index] = strdup(string) }
        pointer[count] = nil
    }

    deinit {
        for index in 0..<count { free(pointer[index]) }
        pointer.deallocate()
    }
}
