import Foundation
import Testing

/// What the documentation says is done, word by word.
@Suite(.serialized)
struct GuideTests {
    /// A block of a page: its language, the file that it names, its lines.
    private struct Block {
        var language: String
        var file: String?
        var lines: [String]
    }

    private func blocks(of page: String) throws -> [Block] {
        let text = try String(contentsOf: HostFixture.source.appending(path: "docs/\(page)"), encoding: .utf8)
        var blocks: [Block] = []
        var open: Block?
        for line in text.components(separatedBy: "\n") {
            guard line.hasPrefix("```") else {
                open?.lines.append(line)
                continue
            }
            if let block = open {
                blocks.append(block)
                open = nil
            } else {
                let words = line.dropFirst(3).split(separator: " ").map(String.init)
                open = Block(language: words.first ?? "", file: words.dropFirst().first, lines: [])
            }
        }
        return blocks
    }

    @Test func `the guide does what it says, from nothing to an app with a client`() async throws {
        try await HostFixture.with { host in
            let folder = host.folder.appending(path: "guide")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let deno = HostFixture.source.appending(path: ".tools/run/bin/deno").path
            let runtime = HostFixture.source.appending(path: "Runtime").path
            let program = try HostFixture.executable().path
            var commands = 0
            for block in try blocks(of: "guide.md") {
                if let file = block.file {
                    let text = block.lines.joined(separator: "\n") + "\n"
                    try Data(text.utf8).write(to: folder.appending(path: file))
                    guard file.hasSuffix("use.ts") else { continue }
                    let types = try await host.run(
                        URL(filePath: deno),
                        ["check", "--all", "--quiet", folder.appending(path: file).path]
                    )
                    #expect(types.status == 0, "\(types.errors)")
                }
                if block.language == "text" {
                    // What a host that is up says; the one of this test has another port.
                    #expect(block.lines.first == "$ martlet up")
                    for line in block.lines.dropFirst() where !line.isEmpty {
                        let said = line.replacingOccurrences(of: ":8080", with: ":\(try host.port)")
                        #expect(host.log.contains(said), "\(said) is not in: \(host.log)")
                    }
                    continue
                }
                guard block.language == "console" else { continue }
                var output = ""
                for line in block.lines where !line.isEmpty {
                    guard line.hasPrefix("$ ") else {
                        #expect(output.contains(line), "\(line) is not in: \(output)")
                        continue
                    }
                    // The address of the page is that of a usual start; names below localhost need not resolve.
                    let command = line.dropFirst(2).replacingOccurrences(
                        of: ":8080",
                        with: ":\(try host.port)"
                    )
                    let script = """
                        cd '\(folder.path)'
                        export MARTLET_DENO='\(deno)' MARTLET_RUNTIME='\(runtime)'
                        martlet() { '\(program)' "$@"; }
                        curl() { command curl --noproxy '*' --resolve 'shelf.localhost:\(try host.port):127.0.0.1' "$@"; }
                        \(command)
                        """
                    let run = try await host.run(URL(filePath: "/bin/bash"), ["-c", script])
                    #expect(run.status == 0, "\(command): \(run.errors)")
                    output = run.output + run.errors
                    commands += 1
                }
            }
            #expect(commands > 8)
        }
    }

    @Test func `the reference of the commands tells of the program as it is`() async throws {
        try await HostFixture.with { host in
            let check = try await host.run(
                HostFixture.source.appending(path: "scripts/cli-reference"),
                ["--check", try HostFixture.executable().path]
            )
            #expect(check.status == 0, "\(check.output)\(check.errors)")
        }
    }
}
