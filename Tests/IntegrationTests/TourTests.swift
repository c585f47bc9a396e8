import Foundation
import TestSupport
import Testing

/// The tour of the README, done as it is written there.
@Suite(.serialized) struct TourTests {
    @Test func `the README's tour prints what the README says`() async throws {
        let blocks = try Markdown.blocks(of: "README.md").filter { $0.language == "console" }
        let start = try #require(blocks.first { $0.lines.first?.hasPrefix("Martlet ") == true })
        let tour = try #require(blocks.first { $0.lines.first == "$ bin/martlet deploy examples/chat" })
        try await HostFixture.with(arguments: ["--deploy", "examples/guestbook"]) { host in
            expect(host.log, toLookLike: start.lines)
            var commands = 0
            var index = 0
            while index < tour.lines.count {
                let line = tour.lines[index]
                index += 1
                try #require(line.hasPrefix("$ "), "a command: \(line)")
                var shown: [String] = []
                while index < tour.lines.count, !tour.lines[index].hasPrefix("$ ") {
                    shown.append(tour.lines[index])
                    index += 1
                }
                let (output, status) = try await run(String(line.dropFirst(2)), on: host)
                #expect(status == 0, "\(line): \(output)")
                expect(output, toLookLike: shown)
                commands += 1
            }
            #expect(commands >= 4)
        }
    }

    /// Runs a line in a shell; a command that follows something is ended after a moment.
    private func run(_ command: String, on host: HostFixture) async throws -> (String, Int32) {
        let follows = command.hasSuffix("--follow")
        let script = """
            exec 2>&1
            cd '\(repositoryFolder)'
            \(command.replacingOccurrences(of: "bin/martlet", with: (follows ? "timeout 3 " : "") + "'\(try HostFixture.executable().path)'"))
            """
        let result = try await host.run(URL(filePath: "/bin/bash"), ["-c", script])
        // 124: by `timeout`.
        return (result.output + result.errors, follows && result.status == 124 ? 0 : result.status)
    }

    /// Each line has its words in their places; what differs from run to run and from machine to machine may differ.
    private func expect(_ output: String, toLookLike lines: [String]) {
        let printed = output.split(separator: "\n").map(String.init)
        #expect(printed.count >= lines.count, "\(output)")
        for (line, other) in zip(lines, printed) {
            #expect(
                Self.shape(other) == Self.shape(line),
                "the README says \"\(line)\", printed was \"\(other)\""
            )
        }
    }

    /// A line without its numbers, sizes and versions, and without what its label says of this machine.
    private static func shape(_ line: String) -> String {
        for label in ["  token ", "  state ", "  isolation ", "  databases "] where line.hasPrefix(label) {
            return label
        }
        var shape = line
        for (pattern, name) in [
            (#"\b[0-9a-f]{12}\b"#, "VERSION"), (#"[0-9]+(\.[0-9]+)*"#, "NUMBER"), ("KiB|MiB|bytes", "UNIT"),
            (#"NUMBER (ms|s)\b"#, "TIME"),
            (" +", " "),
        ] {
            shape = shape.replacingOccurrences(of: pattern, with: name, options: .regularExpression)
        }
        return shape
    }
}
