import Foundation
import TemporalTesting
import Testing

@Suite struct `Hello world` {
    @Test func `the program of the documentation runs`() async throws {
        let bundle = ProcessInfo.processInfo.arguments.first { $0.contains(".xctest") } ?? ""
        var folder = URL(filePath: bundle)
        while folder.path.contains(".xctest") { folder.deleteLastPathComponent() }
        let path = folder.appending(path: "temporal-hello").path
        try await TestServer.with { server in
            let program = try Program(path, ["\(server.port)"], folder: server.folder, name: "hello")
            try await eventually { !program.isRunning }
            #expect(program.lastOutput.contains("Hello, world!"), "\(program.lastOutput)")
        }
    }

    @Test func `the documentation has the program as it is`() throws {
        var root = URL(filePath: #filePath)
        for _ in 0..<3 { root.deleteLastPathComponent() }
        let source = try String(
            contentsOf: root.appending(path: "Sources/temporal-hello/HelloWorld.swift"),
            encoding: .utf8
        )
        let article = try String(
            contentsOf: root.appending(path: "Sources/Temporal/Temporal.docc/Temporal.md"),
            encoding: .utf8
        )
        let program = source.drop { $0 != "\n" }.trimmingCharacters(in: .newlines)
        #expect(article.contains(program))
    }
}
