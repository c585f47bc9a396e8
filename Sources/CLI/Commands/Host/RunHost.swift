import ArgumentParser
import ClusterContract
import Control
import ControlAPI
import Daemon
import Foundation
import Logging
import Metrics
import ServiceLifecycle
import Temporal
import UnixSignals

/// `martlet host`.
struct RunHost: AsyncParsableCommand, HostOptions {
    static let configuration = CommandConfiguration(
        commandName: "host",
        abstract: "Run one host of a cluster: its apps, their ingress, and its part in moves.",
        discussion: """
            Needs the cluster's Temporal, its object store, and a file with the secret that all hosts and `martlet control` \
            share. The state is in one folder; another start with it goes on with the apps that are still this host's.
            """
    )

    @Option(help: "The host's name in the cluster: a-z, 0-9 and -.") var id: String
    @Option(help: "The folder for the host's state.", completion: .directory) var data: String
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
    @Option(help: "The address that clients connect to.") var listen = "127.0.0.1"
    @Option(help: "The port that clients connect to; 0 takes a free one.") var port: UInt16 = 8080
    @Option(
        name: .customLong("peer-listen"),
        help: "Where other hosts connect: ADDRESS:PORT; port 0 takes a free one."
    )
    var peerListen = "127.0.0.1:0"
    @Option(
        name: .customLong("peer-certificate"),
        help:
            "A certificate in a PEM file, for TLS between hosts; all hosts need one of the same authority.",
        completion: .file()
    )
    var peerCertificate: String?
    @Option(name: .customLong("peer-key"), help: "Its key, in a PEM file.", completion: .file())
    var peerKey: String?
    @Option(
        name: .customLong("peer-authority"),
        help: "The authority that signs the hosts' certificates, and nobody else's, in a PEM file.",
        completion: .file()
    )
    var peerAuthority: String?
    @Option(
        help: "The numeric address by which others reach this host, where that is not the one it listens on."
    )
    var advertise: String?
    @Option(help: "Apps answer at APP.DOMAIN.") var domain = "localhost"
    @Option(help: "How workers are kept apart: bubblewrap, oci=PROGRAM (crun, runsc), or none.")
    var sandbox = Up.SandboxKind.bubblewrap
    @OptionGroup var isolation: IsolationOptions
    @Option(
        name: .customLong("sleep-after"),
        help: "Idle time until an app sleeps, unless its settings say otherwise."
    )
    var sleepAfter = "60s"
    @Option(help: "Memory of a worker, unless the app's settings say otherwise.") var memory = "256MiB"
    @Option(
        help: "How long the host may serve without renewing its lease in the store; a failover waits as long."
    )
    var lease = "6s"
    @Option(help: "Without a sign of life for so long, the host's session is over.") var heartbeat = "3s"
    @Option(help: "Cores that the Slicer counts with; without it those of the machine.") var cores: Double?
    @Option(help: "The program that replicates databases.", completion: .file()) var litestream: String?
    @Option(help: "The runtime's program.", completion: .file()) var deno: String?
    @Option(help: "The folder with the worker's harness.", completion: .directory) var runtime: String?
    @Option(name: .customLong("log-level"), help: "How much to log.") var logLevel = Up.LogLevel.notice

    func run() async throws {
        if sandbox != .none { Rootless.enter() }
        let observation = logLevel.begin(as: "martlet-host", instance: id)
        let folder = URL(filePath: data).standardizedFileURL
        try ClusterFiles.make(folder)
        let secret = try ClusterFiles.secret(secretFile)
        let host = try HostDaemon(
            try hostConfiguration(folder, secret: secret),
            logger: Logger(label: "martlet.host")
        )
        let (ready, continuation) = AsyncStream<Int?>.makeStream()
        let address = APIConfiguration.Address.behindIngress(in: folder)
        let api = ControlAPI(
            configuration: APIConfiguration(
                address: address,
                domain: domain,
                uploadsFolder: folder.appending(path: "uploads"),
                maximumUploadBytes: 1 << 20,
                protectsMetrics: true
            ),
            service: host,
            authenticator: SingleTokenAuthenticator(token: try secret.apiToken, user: .local),
            version: Martlet.version,
            health: { Health(checks: [Health.Check(name: "host", status: .ok, message: host.summary)]) },
            metrics: observation.metrics,
            collectMetrics: { await host.collectMetrics() },
            logger: Logger(label: "martlet.api"),
            onReady: { continuation.yield($0) }
        )
        let member = ClusterMember(host: host, command: self, apiReady: ready, apiAddress: address)
        // Ended in the reverse order: first the host says that it leaves, then it ends what runs.
        var configuration = ServiceGroupConfiguration(
            services: observation.services + [HostWithAPI(host: host, api: api), member],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "martlet")
        )
        configuration.maximumGracefulShutdownDuration = .seconds(60)
        try await ServiceGroup(configuration: configuration).run()
        Terminal.note("Stopped. The host goes on where it was when it is started with the same folder.")
    }

    private func hostConfiguration(_ folder: URL, secret: ClusterSecret) throws -> HostConfiguration {
        var configuration = try hostConfiguration(folder, host: try HostID(validating: id))
        guard
            let choice = try StoreChoice.resolve(
                store: store,
                s3: nil,
                litestream: litestream,
                folder: folder
            )
        else {
            throw MartletError(.badRequest, "a host of a cluster needs an object store; name it with --store")
        }
        var hostStore = choice.store
        hostStore.keepsApplications = false
        hostStore.takesByItself = false
        hostStore.leaseDuration = try OptionText.duration(lease, "--lease")
        // A fifth, for what lies between a look at the clock and the act.
        hostStore.leaseMargin = min(.seconds(2), hostStore.leaseDuration / 5)
        configuration.store = hostStore
        let peer = try ClusterFiles.hostAndPort(peerListen, "--peer-listen")
        configuration.cluster = ClusterConfiguration(
            listener: HostConfiguration.Listener(address: peer.address, port: peer.port),
            secret: secret
        )
        configuration.cluster?.tls = try tlsBetweenHosts()
        return configuration
    }

    /// What the `--peer-…` options about certificates say; nil without them.
    private func tlsBetweenHosts() throws(MartletError) -> PeerCertificate? {
        guard peerCertificate != nil || peerKey != nil || peerAuthority != nil else { return nil }
        guard let peerCertificate, let peerKey, let peerAuthority else {
            throw MartletError(
                .badRequest,
                "TLS between hosts needs --peer-certificate, --peer-key and --peer-authority; give all three or none"
            )
        }
        return PeerCertificate(
            chain: URL(filePath: peerCertificate),
            key: URL(filePath: peerKey),
            authority: URL(filePath: peerAuthority)
        )
    }

    fileprivate func agent(
        of host: HostDaemon
    ) async throws -> (agent: HostAgent, connection: TemporalConnection) {
        let server = try ClusterFiles.hostAndPort(temporal, "--temporal")
        let connection = TemporalConnection(
            .init(host: server.address, port: Int(server.port), namespace: namespace)
        )
        let peer = try ClusterFiles.hostAndPort(peerListen, "--peer-listen")
        let ingress = HostAddress(address: reachable(listen), port: await host.port ?? port)
        let cores = cores ?? Double(ProcessInfo.processInfo.activeProcessorCount)
        let agent = HostAgent(
            host,
            HostAgent.Configuration(
                host: try HostID(validating: id),
                peer: HostAddress(address: reachable(peer.address), port: await host.peerPort ?? peer.port),
                ingress: ingress,
                api: "http://\(ingress)",
                capacity: Int(cores * 1_000_000),
                lease: LeaseTerms(
                    heartbeatMilliseconds: try milliseconds(heartbeat, "--heartbeat"),
                    leaseMilliseconds: try milliseconds(lease, "--lease")
                )
            ),
            connection: connection,
            logger: Logger(label: "martlet.agent")
        )
        return (agent, connection)
    }

    fileprivate func announce(_ host: HostDaemon) async {
        Terminal.note(
            """
            \(Terminal.styled("Martlet \(Martlet.version)", .bold)): host \(id).
              ingress    http://\(HostAddress(address: reachable(listen), port: await host.port ?? port))/
              peers      \(HostAddress(address: listen, port: await host.peerPort ?? 0))\(peerCertificate == nil ? "" : ", with TLS")
              temporal   \(temporal), namespace \(namespace)
              state      \(data)
              isolation  \(host.summary)
              databases  \(host.storeSummary)
            """
        )
        warnOfMissingSandbox()
    }

    private func reachable(_ address: String) -> String { advertise ?? OptionText.reachable(address) }

    private func milliseconds(_ text: String, _ option: String) throws(MartletError) -> Int {
        let (seconds, attoseconds) = try OptionText.duration(text, option).components
        return Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
    }
}

/// The part of the process that speaks to the rest of the cluster; it begins when the API is ready.
private struct ClusterMember: Service {
    let host: HostDaemon
    let command: RunHost
    let apiReady: AsyncStream<Int?>
    let apiAddress: APIConfiguration.Address

    func run() async throws {
        var iterator = apiReady.makeAsyncIterator()
        guard let apiPort = await iterator.next() else { return }
        try await host.start(before: apiAddress, port: apiPort)
        let (agent, connection) = try await command.agent(of: host)
        await command.announce(host)
        try await agent.run()
        await connection.close()
    }
}
