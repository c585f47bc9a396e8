import ArgumentParser
import ClusterContract
import Control
import ControlAPI
import Foundation
import Logging
import Metrics
import Orchestration
import ServiceLifecycle
import Storage
import Temporal
import UnixSignals

/// `martlet control`.
struct RunControl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "control",
        abstract: "Run the control of a cluster: its API and its workflows. Several may run at a time.",
        discussion: """
            Needs the cluster's Temporal, its object store, and a file with the secret that all hosts and control share. \
            Nothing is kept here but the API's token: apps go on while control is down.
            """
    )

    @Option(help: "The folder for the API's token and for uploads on their way.", completion: .directory)
    var data: String
    @Option(
        help:
            "The object store of the cluster: s3://BUCKET/PREFIX?endpoint=…, or a folder that all hosts share."
    )
    var store: String
    @Option(help: "Temporal's frontend: HOST:PORT.") var temporal = "127.0.0.1:7233"
    @Option(help: "The namespace in Temporal.") var namespace = "default"
    @Option(
        name: .customLong("secret-file"),
        help: "The file with the cluster's secret.",
        completion: .file()
    )
    var secretFile: String
    @Option(help: "The address that the API listens on.") var listen = "127.0.0.1"
    @Option(help: "The API's port; 0 takes a free one.") var port: UInt16 = 8090
    @Option(help: "Apps answer at APP.DOMAIN.") var domain = "localhost"
    @Option(
        name: .customLong("apps-port"),
        help: "The port at which apps answer, for the addresses that are told."
    )
    var appsPort: UInt16 = 8080
    @Option(name: .customLong("max-upload"), help: "The largest upload.") var maximumUpload = "128MiB"
    @OptionGroup(title: "Work") var work: ControlOptions
    @Option(name: .customLong("log-level"), help: "How much to log.") var logLevel = Up.LogLevel.notice
    @Flag(name: .customLong("no-config"), help: "Do not tell other commands of this user where the API is.")
    var leavesConfiguration = false

    func run() async throws {
        let observation = logLevel.begin(as: "martlet-control")
        let folder = URL(filePath: data).standardizedFileURL
        try ClusterFiles.make(folder)
        let token = try SecretFile.token(in: folder)
        let address = try ClusterFiles.hostAndPort(temporal, "--temporal")
        let maximumUpload = try OptionText.bytes(maximumUpload, "--max-upload")
        let connection = TemporalConnection(
            .init(host: address.address, port: Int(address.port), namespace: namespace)
        )
        let process = ControlProcess(
            connection: connection,
            store: try await ClusterFiles.store(store),
            secret: try ClusterFiles.secret(secretFile),
            token: token,
            options: work,
            api: APIConfiguration(
                address: .host(listen, port: Int(port)),
                domain: domain,
                uploadsFolder: folder.appending(path: "uploads"),
                maximumUploadBytes: maximumUpload,
                protectsMetrics: listen != "127.0.0.1" && listen != "::1",
                dashboard: Programs.home?.appending(path: "Runtime/dashboard/index.html")
            ),
            appsPort: appsPort,
            metrics: observation.metrics
        ) { port in
            let shown = listen.contains(":") ? "[\(listen)]" : listen
            let api = "http://\(shown):\(port)"
            Terminal.note(
                """
                \(Terminal.styled("Martlet \(Martlet.version)", .bold)): control.
                  API        \(api)/v1
                  token      \(folder.appending(path: "token").path)
                  temporal   \(temporal), namespace \(namespace)
                  store      \(store)
                """
            )
            guard !leavesConfiguration else { return }
            do {
                try ClientConfiguration(api: api, token: token.secret).write(ClientConfiguration.file())
            } catch {
                Terminal.warning("other commands are not told where the API is: \(error)")
            }
        }
        var configuration = ServiceGroupConfiguration(
            services: observation.services + [process],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "martlet")
        )
        configuration.maximumGracefulShutdownDuration = .seconds(30)
        try await ServiceGroup(configuration: configuration).run()
        await connection.close()
        Terminal.note("Stopped. Apps go on; what was under way goes on when control runs again.")
    }
}

/// How the workflows of a cluster work.
struct ControlOptions: ParsableArguments {
    @Option(name: .customLong("workflow-tasks"), help: "Workflow tasks at a time.")
    var workflowTasks = 100
    @Option(
        name: .customLong("deadlock-timeout"),
        help: "Workflow code that keeps its thread for longer fails its task."
    )
    var deadlockTimeout = "2s"
    @Option(name: .customLong("round"), help: "How often the Slicer looks at the load.") var round = "10s"
    @Option(name: .customLong("moves"), help: "Planned moves at the same time.") var moves = 4

    func workerOptions() throws(MartletError) -> WorkerOptions {
        var options = WorkerOptions()
        guard workflowTasks > 0 else {
            throw MartletError(.badRequest, "--workflow-tasks \(workflowTasks): at least 1")
        }
        options.maxConcurrentWorkflowTaskExecutionSize = workflowTasks
        guard let timeout = DurationText.parse(deadlockTimeout), timeout > .zero else {
            throw MartletError(.badRequest, "--deadlock-timeout \(deadlockTimeout) is no duration such as 2s")
        }
        options.deadlockDetectionTimeout = timeout
        options.workerStopTimeout = .seconds(5)
        return options
    }

    func policy() throws(MartletError) -> SlicerPolicy {
        var policy = SlicerPolicy()
        guard let interval = DurationText.parse(round), interval >= .milliseconds(100) else {
            throw MartletError(.badRequest, "--round \(round) is no duration such as 10s, at least 100ms")
        }
        let (seconds, attoseconds) = interval.components
        policy.roundMilliseconds = Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
        guard moves > 0 else { throw MartletError(.badRequest, "--moves \(moves): at least 1") }
        policy.movesAtOnce = moves
        policy.movesPerHost = max(1, (moves + 1) / 2)
        return policy
    }
}

/// The workflows and the API of a cluster as one service, so that both are told of a shutdown at once.
struct ControlProcess: Service {
    let connection: TemporalConnection
    let store: any ObjectStore
    let secret: ClusterSecret
    let token: APIToken
    let options: ControlOptions
    let api: APIConfiguration
    let appsPort: UInt16
    let metrics: PrometheusRegistry
    /// Told the API's port.
    let onReady: @Sendable (Int) async -> Void

    func run() async throws {
        let worker = ControlWorker(
            connection: connection,
            store: store,
            options: try options.workerOptions(),
            policy: try options.policy(),
            logger: Logger(label: "martlet.control")
        )
        let (domain, port) = (api.domain, appsPort)
        let service = ClusterService(
            client: TemporalClient(connection: connection),
            store: store,
            secret: secret
        ) { app in "http://\(app).\(domain)" + (port == 80 ? "" : ":\(port)") + "/" }
        let connection = connection
        let api = ControlAPI(
            configuration: api,
            service: service,
            cluster: service,
            accounts: service,
            authenticator: AccountAuthenticator(
                own: SingleTokenAuthenticator(token: token, user: .local),
                accounts: AccountRegister(client: TemporalClient(connection: connection))
            ),
            version: Martlet.version,
            health: { await Self.health(connection) },
            metrics: metrics,
            logger: Logger(label: "martlet.api"),
            onReady: { await onReady($0 ?? 0) }
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await worker.run() }
            group.addTask { try await api.run() }
            try await group.waitForAll()
        }
    }

    private static func health(_ connection: TemporalConnection) async -> Health {
        do {
            try await connection.connect(timeout: .seconds(2))
            return Health(checks: [Health.Check(name: "temporal", status: .ok, message: "answers")])
        } catch {
            return Health(checks: [Health.Check(name: "temporal", status: .degraded, message: "\(error)")])
        }
    }
}

/// The platform's own token, and those of users.
private struct AccountAuthenticator: Authenticator {
    let own: SingleTokenAuthenticator
    let accounts: AccountRegister

    func user(presenting token: String) async -> UserID? {
        if let user = await own.user(presenting: token) { return user }
        return await accounts.user(presenting: token)
    }
}
