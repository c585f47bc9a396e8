import Archive
import ArgumentParser
import Control
import Daemon
import Foundation
import Logging

/// `martlet check`.
struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say everything that deploying would say, without deploying.",
        discussion: """
            The folder is packed, unpacked, its packages are resolved, its script is started once on an empty database and \
            ended, and its types are read: on a host of its own in a temporary folder. Nothing that runs is touched.
            """
    )

    @Argument(help: "The app's folder.", completion: .directory) var folder = "."
    @Option(help: "How the worker is kept apart: bubblewrap or none.") var sandbox = Up.SandboxKind.bubblewrap
    @OptionGroup var tools: ToolOptions
    @Flag(help: "Print an object.") var json = false

    private struct Report: Encodable {
        struct Route: Encodable {
            var method: String
            var pattern: String
            var handler: String
            var isChecked: Bool
        }

        var name: ApplicationID
        var main: String
        var files: Int
        var unpackedBytes: Int
        var archiveBytes: Int
        var startMilliseconds: Int
        var routes: [Route]
        var cron: [String]
        var warnings: [String]
    }

    func run() async throws {
        let source = try AppFolder(folder)
        _ = try source.main()
        let name = try source.name(given: nil)
        let scratch = FileManager.default.temporaryDirectory.appending(
            path: "martlet-\(UUID().uuidString.prefix(8))"
        )
        try FileManager.default.createDirectory(
            at: scratch,
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        defer { try? FileManager.default.removeItem(at: scratch) }
        let archive = scratch.appending(path: "app.tar.gz")
        let summary = try source.pack(to: archive)
        let (schema, notes) = try types(source, in: scratch)
        let trial = try await trial(archive, name, schema, in: scratch)
        let report = Report(
            name: name,
            main: trial.main,
            files: summary.files,
            unpackedBytes: summary.unpackedBytes,
            archiveBytes: summary.archiveBytes,
            startMilliseconds: trial.startMilliseconds,
            routes: trial.routes.map {
                Report.Route(
                    method: $0.method,
                    pattern: $0.pattern,
                    handler: $0.handler,
                    isChecked: $0.checked
                )
            },
            cron: trial.cron,
            warnings: notes + trial.warnings
        )
        if json { return try Terminal.json(report) }
        for warning in report.warnings { Terminal.warning(warning) }
        for route in report.routes {
            Terminal.print(
                "\(route.method.padding(to: 8))\(route.pattern)"
                    + (route.isChecked ? "" : "  (input is not checked)")
            )
        }
        for expression in report.cron { Terminal.print("CRON    \(expression)") }
        let time = DurationText.format(.milliseconds(trial.startMilliseconds))
        Terminal.print("ok: \(trial.main), \(summary.text), starts in \(time)")
    }

    /// Reads the types as a deployment does; what cannot be read is said and stops nothing.
    private func types(_ source: AppFolder, in scratch: URL) throws -> (file: URL?, notes: [String]) {
        let main = try source.main()
        guard [".ts", ".tsx", ".mts"].contains(where: main.hasSuffix) else { return (nil, []) }
        let (deno, runtime) = (try tools.denoProgram(), try tools.runtimeFolder())
        let file = scratch.appending(path: "schema.json")
        do {
            let output = try RuntimeTool(deno: deno, runtime: runtime).run(
                "annotate.ts",
                permissions: ["--allow-read", "--allow-write=\(scratch.path)", "--allow-run=\(deno.path)"],
                [
                    "--main", source.url.appending(path: main).path, "--root", source.url.path, "--out",
                    file.path,
                ]
            )
            return (file, output.split(separator: UInt8(ascii: "\n")).compactMap { TypeNote(line: $0)?.text })
        } catch let error as MartletError {
            return (nil, ["the types are not checked, because they could not be read: \(error.message)"])
        }
    }

    private func trial(
        _ archive: URL,
        _ name: ApplicationID,
        _ schema: URL?,
        in scratch: URL
    ) async throws -> HostDaemon.Trial {
        let logger = Logger(label: "martlet.check") { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = .error
            return handler
        }
        var configuration = HostConfiguration(
            folder: scratch.appending(path: "state"),
            host: try HostID(validating: "check"),
            listeners: [HostConfiguration.Listener(port: 0)],
            runtimeFolder: try tools.runtimeFolder(),
            deno: try tools.denoProgram()
        )
        configuration.sandbox = sandbox.choice
        configuration.pool.minimum = 0
        let host = try HostDaemon(configuration, logger: logger)
        let running = Task { try await host.run() }
        defer { running.cancel() }
        let result: Result<HostDaemon.Trial, any Error>
        do { result = .success(try await host.tryOut(archive, name: name, schema: schema)) } catch {
            result = .failure(error)
        }
        running.cancel()
        _ = await running.result
        return try result.get()
    }
}

/// Something that the types do not say, as `annotate.ts` writes it.
struct TypeNote: Decodable {
    var module: String
    var line: Int?
    var `where`: String
    var message: String

    /// Lines that are none are the runtime's own words.
    init?(line: some Sequence<UInt8>) {
        guard let note = try? JSONDecoder().decode(TypeNote.self, from: Data(line)) else { return nil }
        self = note
    }

    var text: String { "\(module)\(line.map { ":\($0)" } ?? ""): \(`where`) is not checked: \(message)" }
}

extension Up.SandboxKind {
    /// As a host is told.
    var choice: HostConfiguration.Sandbox {
        switch self {
        case .none: .none
        case .oci(let program):
            .oci(
                program.contains("/")
                    ? URL(filePath: program) : Programs.find(program) ?? URL(filePath: program)
            )
        case .bubblewrap: .bubblewrap(Programs.find("bwrap") ?? URL(filePath: "/usr/bin/bwrap"))
        }
    }
}
