import CSupervision
import Glibc
import Synchronization

/// A program that this process runs: in a session of its own, killed when this process dies, always reaped.
package final class ChildProcess: Sendable {
    /// How a program ended.
    package enum ExitStatus: Sendable, Hashable, CustomStringConvertible {
        case exited(Int32)
        case signalled(Int32)

        package var isSuccess: Bool { self == .exited(0) }

        package var description: String {
            switch self {
            case .exited(let code): "exit status \(code)"
            case .signalled(let number): "signal \(number)"
            }
        }
    }

    /// What to run.
    package struct Command: Sendable {
        package var executable: String
        package var arguments: [String]
        /// The whole environment: nothing is inherited.
        package var environment: [String: String]
        /// Nil means this process's own.
        package var folder: String?

        package init(
            executable: String,
            arguments: [String],
            environment: [String: String],
            folder: String? = nil
        ) {
            self.executable = executable
            self.arguments = arguments
            self.environment = environment
            self.folder = folder
        }
    }

    /// A program that could not be started: what, and errno.
    package struct StartError: Error, CustomStringConvertible {
        package let executable: String
        package let number: Int32

        package var description: String { "start \(executable): \(String(cString: strerror(number)))" }
    }

    package let identifier: Int32
    private let child: Child
    private let end: End
    private let outputEnd: OutputEnd

    /// Starts a program; each line that it writes goes to `output`, on a thread of the process's own.
    ///
    /// - Throws: `StartError`.
    package init(_ command: Command, output: @escaping @Sendable (String) -> Void) throws {
        var pipe: [Int32] = [-1, -1]
        let failure = martlet_pipe(&pipe)
        guard failure == 0 else { throw StartError(executable: command.executable, number: failure) }
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer {
            close(pipe[1])
            close(null)
        }
        let end = End()
        var number: Int32 = 0
        let environment = command.environment.map { "\($0.key)=\($0.value)" }
        let context = Unmanaged.passRetained(end)
        let started = withCStrings([command.executable] + command.arguments) { arguments in
            withCStrings(environment) { environment in
                martlet_child_start(
                    command.executable,
                    arguments,
                    environment,
                    command.folder,
                    null,
                    pipe[1],
                    pipe[1],
                    { context, status in
                        guard let context else { return }
                        Unmanaged<End>.fromOpaque(context).takeRetainedValue().set(status)
                    },
                    context.toOpaque(),
                    &number
                )
            }
        }
        guard let started else {
            context.release()
            close(pipe[0])
            throw StartError(executable: command.executable, number: number)
        }
        child = Child(pointer: started)
        end.keep(child)
        self.end = end
        identifier = martlet_child_id(started)
        let outputEnd = OutputEnd()
        self.outputEnd = outputEnd
        Self.readLines(from: pipe[0], output) { outputEnd.set() }
    }

    /// Waits until the program has ended.
    package func wait() async -> ExitStatus { await end.wait() }

    /// Waits until every line has been handed over, also of those that the program has started and that write on.
    package func waitForOutput() async { await outputEnd.wait() }

    /// The status, when the program has ended.
    package var status: ExitStatus? { end.current }

    /// Sends a signal to the program; nothing happens when it has ended.
    package func send(_ signal: Int32) {
        _ = martlet_child_signal(child.pointer, signal, false)
    }

    /// Asks the program to end with `signal`, and kills it and its whole process group after `grace`.
    @discardableResult
    package func stop(signal: Int32 = SIGTERM, grace: Duration) async -> ExitStatus {
        send(signal)
        // A task of its own, so that a cancelled caller still stops and reaps the program; the kill bounds it.
        let killer = Task {
            try await Task.sleep(for: grace)
            _ = martlet_child_signal(child.pointer, SIGKILL, true)
        }
        defer { killer.cancel() }
        return await end.wait()
    }

    /// Reads on a thread of its own: a program's output ends with the program, and one thread each is little.
    private static func readLines(
        from descriptor: Int32,
        _ output: @escaping @Sendable (String) -> Void,
        onEnd: @escaping @Sendable () -> Void
    ) {
        let lines = Unmanaged.passRetained(LineBuffer(output: output, onEnd: onEnd))
        let failure = martlet_read_all(
            descriptor,
            { context, bytes, count in
                guard let context else { return }
                let lines = Unmanaged<LineBuffer>.fromOpaque(context)
                guard count > 0, let bytes else {
                    lines.takeUnretainedValue().finish()
                    return lines.release()
                }
                lines.takeUnretainedValue().append(UnsafeBufferPointer(start: bytes, count: count))
            },
            lines.toOpaque()
        )
        guard failure != 0 else { return }
        lines.release()
        close(descriptor)
        output("its output can't be read: \(String(cString: strerror(failure)))")
        onEnd()
    }
}

/// Owns the memory of the C side, which is used by the waiting thread until it has set the end.
private final class Child: @unchecked Sendable {
    // The pointer never changes, and what it points to has a lock of its own.
    let pointer: OpaquePointer

    init(pointer: OpaquePointer) { self.pointer = pointer }

    deinit { martlet_child_free(pointer) }
}

/// How a program ended, and those who wait to know.
private final class End: Sendable {
    private struct State {
        var status: ChildProcess.ExitStatus?
        var waiters: [CheckedContinuation<ChildProcess.ExitStatus, Never>] = []
        /// Kept until the end is known, because the waiting thread uses its memory until then.
        var child: Child?
    }

    private let state = Mutex(State())

    var current: ChildProcess.ExitStatus? { state.withLock { $0.status } }

    func keep(_ child: Child) {
        state.withLock { state in
            if state.status == nil { state.child = child }
        }
    }

    func set(_ status: Int32) {
        // The macros of wait(2): the low seven bits are the signal, the next byte is the exit status.
        let ended: ChildProcess.ExitStatus =
            status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .signalled(status & 0x7F)
        let (waiters, child) = state.withLock { state in
            state.status = ended
            defer {
                state.waiters = []
                state.child = nil
            }
            return (state.waiters, state.child)
        }
        withExtendedLifetime(child) { waiters.forEach { $0.resume(returning: ended) } }
    }

    func wait() async -> ChildProcess.ExitStatus {
        await withCheckedContinuation { continuation in
            let ended = state.withLock { state in
                if state.status == nil { state.waiters.append(continuation) }
                return state.status
            }
            if let ended { continuation.resume(returning: ended) }
        }
    }
}

/// Whether all output has been handed over, and those who wait for it.
private final class OutputEnd: Sendable {
    private let state = Mutex((isOver: false, waiters: [CheckedContinuation<Void, Never>]()))

    func set() {
        let waiters = state.withLock { state in
            state.isOver = true
            defer { state.waiters = [] }
            return state.waiters
        }
        waiters.forEach { $0.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if !state.isOver { state.waiters.append(continuation) }
                return state.isOver
            }
            if isOver { continuation.resume() }
        }
    }
}

/// Cuts bytes into lines.
///
/// Used on one thread only.
private final class LineBuffer: @unchecked Sendable {
    // Only the reading thread touches the partial line.
    private static let longestLine = 64 << 10
    private let output: @Sendable (String) -> Void
    private let onEnd: @Sendable () -> Void
    private var partial: [UInt8] = []

    init(output: @escaping @Sendable (String) -> Void, onEnd: @escaping @Sendable () -> Void) {
        self.output = output
        self.onEnd = onEnd
    }

    func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                flush()
            } else {
                partial.append(byte)
                if partial.count >= Self.longestLine { flush() }
            }
        }
    }

    func finish() {
        if !partial.isEmpty { flush() }
        onEnd()
    }

    private func flush() {
        output(String(decoding: partial, as: UTF8.self))
        partial.removeAll(keepingCapacity: true)
    }
}

/// Calls `body` with a null-ended array of C strings.
private func withCStrings<Result>(
    _ strings: [String],
    _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) } + [nil]
    defer { pointers.forEach { free($0) } }
    return pointers.withUnsafeMutableBufferPointer { buffer in
        guard let base = buffer.baseAddress else {
            preconditionFailure("An array with one element has an address.")
        }
        return body(UnsafePointer(base))
    }
}
