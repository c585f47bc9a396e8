import ArgumentParser
import Control
import Daemon
import Foundation
import Logging
import ServiceLifecycle
import UnixSignals

/// `martlet dev`.
struct Dev: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the app of a folder while you work on it: each saved file is taken into use at once.",
        discussion: """
            The app runs as it would when deployed: in a worker, behind the ingress, with its databases, which stay from \
            start to start in .martlet/dev of the folder. What goes wrong is shown here and in the browser, with the line \
            of the source. WebSockets are closed with code 1012 when the app starts anew; a page that wants to follow can \
            reload then.
            """
    )

    @Argument(help: "The app's folder.", completion: .directory) var folder = "."
    @Option(help: "The port; 0 takes a free one.") var port: UInt16 = 8000
    @Option(help: "How the worker is kept apart: bubblewrap, or none where there is no bubblewrap.")
    var sandbox: Up.SandboxKind?
    @OptionGroup var tools: ToolOptions

    func run() async throws {
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = .error
            return handler
        }
        let source = try AppFolder(folder)
        _ = try source.main()
        let app = try source.name(given: nil)
        let state = source.url.appending(path: ".martlet/dev")
        try FileManager.default.createDirectory(
            at: state,
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        let runtime = try tools.runtimeFolder()
        let deno = try tools.denoProgram()
        if FileManager.default.fileExists(atPath: source.url.appending(path: "deno.json").path) {
            // Editors see the framework that runs.
            try Init.copyFramework(runtime, to: source.url)
        }
        var configuration = HostConfiguration(
            folder: state,
            host: try HostID(validating: "dev"),
            listeners: [HostConfiguration.Listener(port: port)],
            runtimeFolder: runtime,
            deno: deno
        )
        configuration.sandbox =
            (sandbox ?? (Programs.find("bwrap") == nil ? .none : .bubblewrap)).choice
        configuration.standardApp = app
        configuration.pool.minimum = 0
        configuration.sleep.after = nil
        configuration.timeouts.drain = .seconds(2)
        let host = try HostDaemon(configuration, logger: Logger(label: "martlet.dev"))
        let service = DevelopmentService(
            host: host,
            app: app,
            folder: source.url,
            state: state,
            tool: RuntimeTool(deno: deno, runtime: runtime)
        )
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(service: host),
                    .init(
                        service: service,
                        successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .gracefullyShutdownGroup
                    ),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: Logger(label: "martlet.dev")
            )
        )
        try await group.run()
        Terminal.note("Stopped. The app's data is in \(state.path)/apps/\(app)/data.")
    }
}
