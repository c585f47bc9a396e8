import Control
import Daemon
import Foundation
import ServiceLifecycle
import Synchronization

/// Follows a folder and starts its app anew after each change.
struct DevelopmentService: Service {
    let host: HostDaemon
    let app: ApplicationID
    let folder: URL
    let state: URL
    let tool: RuntimeTool

    /// What `develop.ts` says.
    private struct Message: Decodable {
        var type: String
        var files: [String]?
        var schema: String
        var tree: String?
        var problem: String?
        var warnings: [TypeNote]?
    }

    /// In the data folder, so that the worker may read the files.
    private static let typesFolder = ".types"

    func run() async throws {
        try await host.start(api: nil)
        let port = await host.port ?? 0
        Terminal.note(
            "\(Terminal.styled(app.rawValue, .bold)) is at http://localhost:\(port)/ - save a file to start it anew, "
                + "Ctrl-C to stop"
        )
        let types = state.appending(path: "apps/\(app)/data/\(Self.typesFolder)")
        // Of the last time; without it there is nothing to remove.
        try? FileManager.default.removeItem(at: types)
        try FileManager.default.createDirectory(at: types, withIntermediateDirectories: true)
        await host.prepareSpare(app, folder.path)
        do {
            try await cancelWhenGracefulShutdown {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await follow(types) }
                    group.addTask { try await showLog() }
                    try await group.next()
                    group.cancelAll()
                }
            }
        } catch is CancellationError {
            // Ctrl-C.
        }
    }

    private func follow(_ types: URL) async throws {
        let process = tool.process(
            "develop.ts",
            permissions: [
                "--allow-read", "--allow-write=\(state.path)", "--allow-run=\(tool.deno.path)",
            ],
            ["--root", folder.path, "--state", state.path, "--out", types.path]
        )
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        // It ends when its standard input does, also when this process is killed.
        defer {
            try? input.fileHandleForWriting.close()
            process.terminate()
        }
        var isStarted = false
        for await line in Self.lines(of: output.fileHandleForReading) {
            guard let message = try? JSONDecoder().decode(Message.self, from: line) else { continue }
            switch message.type {
            case "changed": isStarted = await start(message)
            case "types":
                for note in message.warnings ?? [] { Terminal.warning(note.text) }
                // What keeps the app from starting has been said.
                if let problem = message.problem, isStarted {
                    Terminal.warning("the types are not checked, because they could not be read: \(problem)")
                }
            default: break
            }
        }
        try Task.checkCancellation()
        throw MartletError(.internal, "the folder is not watched any more: develop.ts ended")
    }

    /// The lines that come, until the other side closes or the task is cancelled.
    private static func lines(of handle: FileHandle) -> AsyncStream<Data> {
        let (stream, continuation) = AsyncStream<Data>.makeStream()
        let rest = Mutex(Data())
        handle.readabilityHandler = { handle in
            let bytes = handle.availableData
            guard !bytes.isEmpty else {
                handle.readabilityHandler = nil
                return continuation.finish()
            }
            rest.withLock { rest in
                rest.append(bytes)
                while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                    continuation.yield(Data(rest[..<end]))
                    rest = Data(rest[(end + 1)...])
                }
            }
        }
        return stream
    }

    /// Starts the app; returns whether it serves.
    private func start(_ message: Message) async -> Bool {
        let files = message.tree ?? folder.path
        let what = message.files.flatMap { $0.isEmpty ? nil : $0.joined(separator: ", ") }
        do {
            if let problem = message.problem { throw MartletError(.checkFailed, problem) }
            let start = try await host.develop(
                app,
                files: files,
                schema: Self.typesFolder + "/" + message.schema
            )
            let time = DurationText.format(.milliseconds(Int(start.elapsed / .milliseconds(1))))
            Terminal.note(
                Terminal.styled("✓ ", .green)
                    + (what.map { "\($0): started anew in \(time)" } ?? "started in \(time)")
            )
            if !start.unchecked.isEmpty {
                Terminal.warning("input is not checked: \(start.unchecked.joined(separator: ", "))")
            }
            return true
        } catch {
            let failure = DevelopmentFailure(error, files: files, folder: folder)
            Terminal.note(Terminal.styled("✗ ", .red) + failure.text)
            do { try await host.showFailure(of: app, failure.page) } catch {
                Terminal.error("the browser cannot be told: \(error)")
            }
            return false
        }
    }

    private func showLog() async throws {
        // The log begins with the app.
        while true {
            if let records = try? await host.logs(of: app, since: Date(), follow: true) {
                for try await record in records {
                    let place = record.message.replacingOccurrences(
                        of: "file:///app/",
                        with: folder.path + "/"
                    )
                    let style: Terminal.Style =
                        record.level == .error || record.level == .warn ? .yellow : .dim
                    Terminal.print(Terminal.styled("│ ", style) + place)
                }
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
