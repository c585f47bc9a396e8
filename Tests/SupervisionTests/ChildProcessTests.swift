import Foundation
import Supervision
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3))) struct `Child processes` {
    @Test func `a program gets its arguments, an environment of its own and its folder`() async throws {
        let lines = try await run(
            "/bin/sh",
            ["-c", "echo \"$0 $ONE ${HOME-none}\"; pwd; echo to errors >&2", "zero arg"],
            environment: ["ONE": "1"],
            folder: "/"
        )
        #expect(lines == ["zero arg 1 none", "/", "to errors"])
    }

    @Test func `no other file of this process is open in it`() async throws {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/dev/null"))
        defer { try? file.close() }  // Closing a file that was only read can't lose anything.
        // The program looks at itself, through one descriptor more: a shell would have pipes of its own.
        let lines = try await run("/bin/ls", ["/proc/self/fd"])
        #expect(lines.sorted() == ["0", "1", "2", "3"], "\(lines)")
    }

    @Test func `exit status and signal are told apart, and a wrong path is an error`() async throws {
        let quiet: @Sendable (String) -> Void = { _ in }
        let exits = try ChildProcess(
            .init(executable: "/bin/sh", arguments: ["-c", "exit 7"], environment: [:]),
            output: quiet
        )
        #expect(await exits.wait() == .exited(7))
        let sleeps = try ChildProcess(
            .init(executable: "/bin/sleep", arguments: ["60"], environment: [:]),
            output: quiet
        )
        #expect(await sleeps.stop(grace: .seconds(10)) == .signalled(SIGTERM))
        #expect(throws: ChildProcess.StartError.self) {
            try ChildProcess(
                .init(executable: "/no/such/program", arguments: [], environment: [:]),
                output: quiet
            )
        }
    }

    @Test func `a program that ignores the request to end is killed, with those that it started`()
        async throws
    {
        let lines = Lines()
        let script = "trap '' TERM; sleep 60 & echo $!; while :; do sleep 1; done"
        let stubborn = try ChildProcess(
            .init(executable: "/bin/sh", arguments: ["-c", script], environment: ["PATH": "/usr/bin:/bin"])
        ) { lines.add($0) }
        while lines.all.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
        #expect(await stubborn.stop(grace: .milliseconds(100)) == .signalled(SIGKILL))
        let grandchild = try #require(Int32(lines.all[0]))
        let deadline = ContinuousClock.now + .seconds(20)
        while kill(grandchild, 0) == 0, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(kill(grandchild, 0) != 0)
    }
}
