import Archive
import ArgumentParser
import Control
import ControlAPI
import ControlClient
import Daemon
import Foundation
import Logging
import Metrics
import ServiceLifecycle
import Storage
import UnixSignals

/// `martlet up`.
struct Up: AsyncParsableCommand, HostOptions {
    static let configuration = CommandConfiguration(
        abstract: "Run everything on this machine: the ingress, the API and the host of the apps.",
        discussion:
            "One port serves all. The state is in one folder, and another start with it goes on where it was."
    )

    @Option(help: "The port; 0 takes a free one.") var port: UInt16 = 8080
    @Option(help: "The folder for all state; without it ~/.local/share/martlet.", completion: .directory)
    var data: String?
    @Option(help: "Hosts to run; more than one make a cluster, with a Temporal server of its own.")
    var hosts = 1
    @OptionGroup(title: "Cluster") var work: ControlOptions
    @Option(help: "The Temporal server's program, for --hosts.", completion: .file()) var temporal: String?
    @Option(help: "The address to listen on. Others than loopback can be reached by others.") var listen =
        "127.0.0.1"
    @OptionGroup(title: "TLS") var tls: TLSOptions
    @Option(help: "Apps answer at APP.DOMAIN.") var domain = "localhost"
    @Option(help: "How workers are kept apart: bubblewrap, oci=PROGRAM (crun, runsc), or none.")
    var sandbox = SandboxKind.bubblewrap
    @OptionGroup var isolation: IsolationOptions
    @Option(
        help: "Deploy this folder once the host runs; can be given several times.",
        completion: .directory
    )
    var deploy: [String] = []
    @Option(
        name: .customLong("sleep-after"),
        help: "Idle time until an app sleeps, unless its settings say otherwise."
    )
    var sleepAfter = "60s"
    @Option(help: "Memory of a worker, unless the app's settings say otherwise.") var memory = "256MiB"
    @Option(name: .customLong("max-upload"), help: "The largest upload.") var maximumUpload = "128MiB"
    @Option(
        help: ArgumentHelp(
            "Where databases and versions are kept beside the host: a folder, s3://BUCKET/PREFIX, or none.",
            discussion:
                "Without it a folder in the state folder. S3 takes the usual AWS variables, and endpoint, region and "
                + "style after a question mark."
        )
    )
    var store: String?
    @Option(name: .customLong("s3"), help: "The same as --store, for a bucket: s3://BUCKET/PREFIX?endpoint=…")
    var s3: String?
    @Option(help: "The program that replicates databases.", completion: .file()) var litestream: String?
    @Option(help: "The runtime's program.", completion: .file()) var deno: String?
    @Option(help: "The folder with the worker's harness.", completion: .directory) var runtime: String?
    @Option(name: .customLong("log-level"), help: "How much to log.")
    var logLevel = LogLevel.warning

    enum SandboxKind: ExpressibleByArgument, Equatable, CustomStringConvertible {
        case bubblewrap
        /// The path of an OCI runtime.
        case oci(String)
        case none

        init?(argument: String) {
            switch argument {
            case "bubblewrap": self = .bubblewrap
            case "none": self = .none
            default:
                guard argument.hasPrefix("oci="), argument.count > 4 else { return nil }
                self = .oci(String(argument.dropFirst(4)))
            }
        }

        var description: String {
            switch self {
            case .bubblewrap: "bubblewrap"
            case .oci(let program): "oci=\(program)"
            case .none: "none"
            }
        }

        static var allValueStrings: [String] { ["bubblewrap", "oci=PROGRAM", "none"] }
        var defaultValueDescription: String { description }
    }

    /// The levels of swift-log.
    enum LogLevel: String, ExpressibleByArgument, CaseIterable {
        case trace, debug, info, notice, warning, error
    }

    func run() async throws {
        if sandbox != .none { Rootless.enter() }
        let observation = logLevel.begin(as: hosts == 1 ? "martlet" : "martlet-control")
        if hosts != 1 { return try await runCluster(observation) }
        let folder = try stateFolder()
        let token = try SecretFile.token(in: folder)
        let configuration = try hostConfiguration(folder)
        let host = try HostDaemon(configuration, logger: Logger(label: "martlet.host"))
        let start = StartUp<Int?>()
        let address = APIConfiguration.Address.behindIngress(in: folder)
        let api = ControlAPI(
            configuration: try apiConfiguration(folder, address, runtime: configuration.runtimeFolder),
            service: host,
            authenticator: SingleTokenAuthenticator(token: token, user: .local),
            version: Martlet.version,
            health: { Health(checks: [Health.Check(name: "host", status: .ok, message: host.summary)]) },
            metrics: observation.metrics,
            collectMetrics: { await host.collectMetrics() },
            logger: Logger(label: "martlet.api"),
            databases: host,
            onReady: { start.ready($0) }
        )
        let services: [any Service] = observation.services + [HostWithAPI(host: host, api: api)]
        try await start.run(services, endingWithin: .seconds(60)) { apiPort in
            try await serve(host, token: token, folder: folder, apiPort: apiPort, address: address)
        }
        Terminal.note("Stopped. `martlet up` with the same folder goes on where this was.")
    }

    /// Opens the ingress, tells the person, and deploys what was asked for.
    private func serve(
        _ host: HostDaemon,
        token: APIToken,
        folder: URL,
        apiPort: Int?,
        address: APIConfiguration.Address
    ) async throws {
        do {
            try await host.start(before: address, port: apiPort)
        } catch let error as MartletError where error.code == .conflict && !(error.cause is StorageError) {
            let advice = "; --port and --tls-port choose others, and 0 takes any free one"
            throw MartletError(.conflict, error.message + advice, cause: error)
        }
        let port = await host.port ?? port
        let reachable = OptionText.reachable(listen)
        let shown = reachable.contains(":") ? "[\(reachable)]" : reachable
        let endpoint = try Endpoint(validating: "http://\(shown):\(port)")
        let file = ClientConfiguration.file()
        try ClientConfiguration(api: "\(endpoint)", token: token.secret).write(file)
        let client = APIClient(endpoint: endpoint, token: token)
        await announce(host, port: port, endpoint: endpoint, folder: folder, file: file)
        try await AppFolder.deployAtStart(deploy, by: client)
    }

    private func announce(
        _ host: HostDaemon,
        port: UInt16,
        endpoint: Endpoint,
        folder: URL,
        file: URL
    ) async {
        var apps = "http://<app>.\(domain)\(port == 80 ? "" : ":\(port)")/"
        if let port = await host.tlsPort {
            apps += " and https://<app>.\(domain)\(port == 443 ? "" : ":\(port)")/"
        }
        Terminal.note(
            """
            \(Terminal.styled("Martlet \(Martlet.version)", .bold)) is up.
              apps       \(apps)
              dashboard  \(endpoint)/
              API        \(endpoint)/v1
              token      \(folder.appending(path: "token").path) (for other commands in \(file.path))
              state      \(folder.path)
              isolation  \(host.summary)
              databases  \(host.storeSummary)
            """
        )
        if store == "none" {
            Terminal.warning("databases are not replicated: they are lost with this machine's disk")
        }
        warnOfMissingSandbox()
        if listen != "127.0.0.1", listen != "::1" {
            Terminal.warning(
                "\(listen) can be reached by others, unencrypted: apps are open to them, and the token crosses in the clear"
            )
        }
    }

    func stateFolder() throws -> URL {
        let environment = ProcessInfo.processInfo.environment
        let path =
            data ?? environment["MARTLET_DATA_FOLDER"]
            ?? (environment["XDG_DATA_HOME"].map { $0 + "/martlet" }
                ?? (environment["HOME"] ?? "/root") + "/.local/share/martlet")
        let folder = URL(filePath: path).standardizedFileURL
        do {
            try FileManager.default.createDirectory(
                at: folder,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
        } catch {
            throw MartletError(
                .badRequest,
                "make the folder \(folder.path): \(error.localizedDescription); choose another with --data",
                cause: error
            )
        }
        return folder
    }

    private func hostConfiguration(_ folder: URL) throws -> HostConfiguration {
        var configuration = try hostConfiguration(folder, host: try HostID(validating: "local"))
        configuration.tls = try tls.configuration(listen: listen)
        if let choice = try StoreChoice.resolve(store: store, s3: s3, litestream: litestream, folder: folder)
        {
            configuration.store = choice.store
            configuration.host = try HostID(validating: choice.host)
        }
        return configuration
    }

    private func apiConfiguration(
        _ folder: URL,
        _ address: APIConfiguration.Address,
        runtime: URL
    ) throws -> APIConfiguration {
        APIConfiguration(
            address: address,
            domain: domain,
            uploadsFolder: folder.appending(path: "uploads"),
            maximumUploadBytes: try OptionText.bytes(maximumUpload, "--max-upload"),
            protectsMetrics: listen != "127.0.0.1" && listen != "::1",
            dashboard: runtime.appending(path: "dashboard/index.html")
        )
    }
}
