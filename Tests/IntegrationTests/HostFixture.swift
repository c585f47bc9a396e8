import Foundation
import Glibc
import TestSupport

/// A host of its own.
///
/// The real program on a free port with its state in a temporary folder, used as a person
/// would use it. The program and all that it started are gone at the end.
final class HostFixture: Sendable {
    struct Output: Sendable {
        var status: Int32
        var output: String
        var errors: String
    }

    let folder: URL
    private let variables: [String: String]
    private let account: Account?
    private let process: LockedProcess

    static var source: URL { repositoryURL }

    /// Runs a host with further arguments of `martlet up` for the duration of `body`, and cleans up whatever happens.
    ///
    /// `variables` are added to the environment of what it starts; with an account it is that user's.
    static func with(
        arguments: [String] = [],
        variables: [String: String] = [:],
        as account: Account? = nil,
        _ body: @Sendable (HostFixture) async throws -> Void
    ) async throws {
        let folder = URL(filePath: "/tmp/martlet-it-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let fixture = HostFixture(folder: folder, variables: variables, account: account)
        do {
            try await fixture.start(arguments)
            try await body(fixture)
        } catch {
            await fixture.end()
            throw error
        }
        await fixture.end()
    }

    private init(folder: URL, variables: [String: String], account: Account?) {
        self.folder = folder
        self.variables = variables
        self.account = account
        process = LockedProcess()
    }

    /// Starts the host, or starts it again, and waits until it is ready.
    func start(_ arguments: String...) async throws { try await start(arguments) }

    private func start(_ arguments: [String]) async throws {
        let log = folder.appending(path: "up.log")
        try Data().write(to: log)
        var command = [try Self.executable().path, "up", "--port", "0", "--sleep-after", "1h"]
        command += ["--data", folder.appending(path: "data").path] + arguments
        if let account { command = try account.command(command, in: folder) }
        try process.start(
            URL(filePath: command[0]),
            Array(command.dropFirst()),
            environment: environment,
            output: log
        )
        for _ in 0..<1200 {
            let text = try String(contentsOf: log, encoding: .utf8)
            if text.contains("Ready:") { return }
            if let status = process.exitStatus {
                throw Failure("martlet up ended with status \(status): \(text)")
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw Failure("martlet up was not ready in 120 s: \(try String(contentsOf: log, encoding: .utf8))")
    }

    /// Ends the host as the system would: at once and without a word.
    func kill() async { await process.end(SIGKILL) }

    /// Ends the host as an operator would.
    ///
    /// - Returns: Its exit status.
    @discardableResult
    func stop() async -> Int32 { await process.end(SIGTERM) }

    /// What the host has printed since its last start.
    var log: String { (try? String(contentsOf: folder.appending(path: "up.log"), encoding: .utf8)) ?? "" }

    /// Runs a command of the program.
    func martlet(_ arguments: String..., input: String? = nil) async throws -> Output {
        try await martlet(arguments, input: input)
    }

    func martlet(_ arguments: [String], input: String? = nil) async throws -> Output {
        try await run(try Self.executable(), arguments, input: input)
    }

    /// Makes a folder with an app of one script.
    ///
    /// - Returns: its path, whose last part is the app's name.
    func app(_ name: String, _ script: String) throws -> String {
        let folder = folder.appending(path: "apps/" + name)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(script.utf8).write(to: folder.appending(path: "main.js"))
        return folder.path
    }

    func json(_ text: String) throws -> Any { try JSONSerialization.jsonObject(with: Data(text.utf8)) }

    /// Makes a request to an app, or to the API where there is none, with curl.
    func request(_ app: String?, _ path: String, _ arguments: String...) async throws -> Output {
        let host = app.map { "\($0).localhost" } ?? "127.0.0.1"
        let url = "http://127.0.0.1:\(try port)\(path)"
        return try await run(
            URL(filePath: "/usr/bin/env"),
            [
                "curl", "-sS", "--max-time", "120", "--noproxy", "*", "-w", "\n%{http_code}", "-H",
                "Host: \(host)",
            ]
                + arguments + [url]
        )
    }

    var port: Int {
        get throws {
            let data = try Data(contentsOf: folder.appending(path: "config.json"))
            let object = try JSONSerialization.jsonObject(with: data) as? [String: String]
            guard let port = object?["api"].flatMap(URL.init(string:))?.port else { throw Failure("no port") }
            return port
        }
    }

    var environment: [String: String] {
        [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": folder.path,
            "MARTLET_CONFIG": folder.appending(path: "config.json").path, "TERM": "dumb",
            "SWIFT_BACKTRACE": "enable=yes,color=no,interactive=no",
        ].merging(variables) { $1 }
    }

    func run(_ program: URL, _ arguments: [String], input: String? = nil) async throws -> Output {
        let environment = environment
        // Waiting for a process blocks its thread, so it is one of its own.
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        let process = Process()
                        process.executableURL = program
                        process.arguments = arguments
                        process.environment = environment
                        process.currentDirectoryURL = Self.source
                        let output = self.folder.appending(path: "out-\(UUID().uuidString)")
                        let errors = self.folder.appending(path: "err-\(UUID().uuidString)")
                        try Data().write(to: output)
                        try Data().write(to: errors)
                        process.standardOutput = try FileHandle(forWritingTo: output)
                        process.standardError = try FileHandle(forWritingTo: errors)
                        let pipe = Pipe()
                        process.standardInput = pipe
                        try process.run()
                        if let input { try pipe.fileHandleForWriting.write(contentsOf: Data(input.utf8)) }
                        try pipe.fileHandleForWriting.close()
                        process.waitUntilExit()
                        return Output(
                            status: process.terminationStatus,
                            output: try String(contentsOf: output, encoding: .utf8),
                            errors: try String(contentsOf: errors, encoding: .utf8)
                        )
                    }
                )
            }
        }
    }

    private func end() async {
        await process.end(SIGTERM)
        try? FileManager.default.removeItem(at: folder)
    }

    static func executable() throws -> URL {
        let program = product("martlet")
        guard FileManager.default.isExecutableFile(atPath: program) else {
            throw Failure("martlet is not beside the tests; build it first")
        }
        return URL(filePath: program)
    }
}

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
