import Control
import Foundation
import Logging
import ServiceLifecycle
import Supervision
import Synchronization

/// A program that is started again when it ends by itself, and ended with this process.
struct SupervisedProgram: Service {
    let name: String
    let command: ChildProcess.Command

    private static let longestPause = Duration.seconds(30)
    /// One that ran for so long has worked: the next pause is short again.
    private static let goodRun = Duration.seconds(60)
    private static let grace = Duration.seconds(40)

    func run() async throws {
        let logger = Logger(label: "martlet.\(name)")
        try await cancelWhenGracefulShutdown {
            var pause = Duration.milliseconds(500)
            while !Task.isCancelled {
                let begin = ContinuousClock.now
                let last = Mutex<[String]>([])
                let child = try ChildProcess(command) { line in
                    last.withLock { lines in
                        lines.append(line)
                        if lines.count > 20 { lines.removeFirst() }
                    }
                    Terminal.note("\(name): \(line)")
                }
                let status = await withTaskCancellationHandler {
                    await child.wait()
                } onCancel: {
                    child.send(SIGTERM)
                    // The handler cannot wait; a program that does not end in its grace is killed.
                    Task { await child.stop(grace: Self.grace) }
                }
                guard !Task.isCancelled else { return }
                if ContinuousClock.now - begin > Self.goodRun { pause = .milliseconds(500) }
                logger.error(
                    "a program has ended and is started again",
                    metadata: ["status": "\(status)", "pause": "\(pause)"]
                )
                // Only cancellation ends the wait early, and the loop sees that.
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, Self.longestPause)
            }
        }
    }
}

/// Programs that are told of a shutdown at the same time.
struct SupervisedPrograms: Service {
    let programs: [SupervisedProgram]

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for program in programs { group.addTask { try await program.run() } }
            try await group.waitForAll()
        }
    }
}
