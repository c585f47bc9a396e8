public import Control
import HTTPTypes
import Hummingbird
public import Logging
import NIOCore
public import ServiceLifecycle

/// The HTTP API: it checks who asks and what, and hands over to an ``ApplicationService``.
public struct ControlAPI: Service {
    private let configuration: APIConfiguration
    private let databases: (any DatabaseService)?
    private let service: any ApplicationService
    private let cluster: (any ClusterAdministration)?
    private let accounts: (any AccountAdministration)?
    private let authenticator: any Authenticator
    private let version: String
    private let health: @Sendable () async -> Health
    private let metrics: PrometheusRegistry?
    private let collectMetrics: @Sendable () async -> Void
    private let logger: Logger
    private let onReady: @Sendable (_ port: Int?) async -> Void

    /// Describes an API; ``run()`` starts it.
    ///
    /// - Parameters:
    ///   - configuration: Where it listens, and its limits.
    ///   - service: What does the work.
    ///   - cluster: Hosts and slices; nil where there is one host alone.
    ///   - accounts: Users and their tokens; nil where there is one user alone.
    ///   - authenticator: Whose token is whose.
    ///   - version: The program's version, which `/` and `/v1` tell.
    ///   - health: What `/healthz` answers.
    ///   - metrics: What `/metrics` answers; without it there is no such page.
    ///   - collectMetrics: Called before, to bring up to date what is not noted as it happens.
    ///   - logger: For faults.
    ///   - databases: What works on databases; without it there are no such routes.
    ///   - onReady: Called once connections are accepted, with the port where there is one.
    public init(
        configuration: APIConfiguration,
        service: any ApplicationService,
        cluster: (any ClusterAdministration)? = nil,
        accounts: (any AccountAdministration)? = nil,
        authenticator: any Authenticator,
        version: String,
        health: @escaping @Sendable () async -> Health,
        metrics: PrometheusRegistry?,
        collectMetrics: @escaping @Sendable () async -> Void = {},
        logger: Logger,
        databases: (any DatabaseService)? = nil,
        onReady: @escaping @Sendable (_ port: Int?) async -> Void = { _ in }
    ) {
        self.databases = databases
        self.configuration = configuration
        self.service = service
        self.cluster = cluster
        self.accounts = accounts
        self.authenticator = authenticator
        self.version = version
        self.health = health
        self.metrics = metrics
        self.collectMetrics = collectMetrics
        self.logger = logger
        self.onReady = onReady
    }

    public func run() async throws {
        let receiver = UploadReceiver(
            folder: configuration.uploadsFolder,
            maximumBytes: configuration.maximumUploadBytes
        )
        try receiver.prepare()
        let runner = DeploymentRunner(limit: configuration.maximumDeployments)
        let onReady = onReady
        let application = Application(
            router: router(receiver, runner),
            server: .http1(
                configuration: .init(idleTimeout: .nanoseconds(configuration.idleTimeout.nanoseconds))
            ),
            configuration: ApplicationConfiguration(address: address, serverName: "martlet"),
            services: [runner],
            onServerRunning: { channel in await onReady(channel.localAddress?.port) },
            logger: logger
        )
        try await application.run()
    }

    private var address: BindAddress {
        switch configuration.address {
        case .host(let host, let port): .hostname(host, port: port)
        case .unixSocket(let path): .unixDomainSocket(path: path)
        }
    }

    private func router(_ receiver: UploadReceiver, _ runner: DeploymentRunner) -> Router<APIContext> {
        let router = Router(context: APIContext.self, options: .autoGenerateHeadEndpoints)
        router.add(middleware: TracingMiddleware())
        router.add(middleware: ProblemMiddleware())
        router.add(middleware: HostNameMiddleware(domain: configuration.domain))
        router.add(
            middleware: TokenMiddleware(
                authenticator: authenticator,
                protectsMetrics: configuration.protectsMetrics
            )
        )
        if accounts != nil { router.add(middleware: OwnerMiddleware(service: service)) }
        OperationsRoutes(
            domain: configuration.domain,
            version: version,
            health: health,
            metrics: metrics,
            collectMetrics: collectMetrics,
            dashboard: configuration.dashboard
        ).add(to: router)
        let group = router.group("v1")
        ApplicationRoutes(service: service).add(to: group)
        EnvironmentRoutes(service: service).add(to: group)
        DeploymentRoutes(
            service: service,
            receiver: receiver,
            runner: runner,
            heartbeat: configuration.heartbeat
        ).add(to: group)
        if let databases { DatabaseRoutes(service: databases).add(to: group) }
        LogRoutes(service: service, heartbeat: configuration.heartbeat).add(to: group)
        if let accounts { AccountRoutes(accounts: accounts).add(to: group) }
        if let cluster {
            ClusterRoutes(cluster: cluster, heartbeat: configuration.heartbeat).add(to: group)
        } else {
            SingleHostRoutes().add(to: group)
        }
        return router
    }
}

extension Duration {
    fileprivate var nanoseconds: Int64 {
        components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
    }
}
