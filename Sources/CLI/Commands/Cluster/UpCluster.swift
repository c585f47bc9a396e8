import Archive
import ClusterContract
import Control
import ControlAPI
import ControlClient
import Foundation
import Logging
import ServiceLifecycle
import Storage
import Supervision
import Synchronization
import Temporal
import UnixSignals

/// `martlet up --hosts N`: a whole cluster on this machine, as processes that are started, watched and ended together.
///
/// ```
/// this process: API and workflows ──► Temporal's development server (child, its database in a file)
///       │                                   ▲
///       └─ starts ─► martlet host × N ──────┘     folder store, or S3
/// ```
/// Temporal comes first and goes last. A child that ends by itself is started again, each time after a longer pause.
struct UpCluster: Sendable {
    let folder: URL
    let hosts: Int
    /// Of the first host; the others follow, and 0 takes free ones.
    let port: UInt16
    let listen: String
    let domain: String
    let store: String
    let temporal: URL
    /// Passed on to each host.
    let hostArguments: [String]
    let options: ControlOptions
    let maximumUploadBytes: Int
    let deploy: [String]
    let logLevel: String
    let observation: Observation

    /// Longer than any of it should take on a slow machine.
    private static let patience = Duration.seconds(120)

    func run() async throws {
        try ClusterFiles.make(folder)
        let token = try SecretFile.token(in: folder)
        let secretFile = try ClusterFiles.secretFile(in: folder)
        let temporalPort = try FreePort.find()
        let apiPort = port == 0 ? try FreePort.find() : port + UInt16(hosts)
        let ports = try (0..<hosts).map { try port == 0 ? FreePort.find() : port + UInt16($0) }
        let connection = TemporalConnection(.init(host: "127.0.0.1", port: Int(temporalPort)))
        let start = StartUp<Int>()
        let control = ControlProcess(
            connection: connection,
            store: try await ClusterFiles.store(store),
            secret: try ClusterFiles.secret(secretFile.path),
            token: token,
            options: options,
            api: APIConfiguration(
                address: .host(listen, port: Int(apiPort)),
                domain: domain,
                uploadsFolder: folder.appending(path: "uploads"),
                maximumUploadBytes: maximumUploadBytes,
                protectsMetrics: listen != "127.0.0.1" && listen != "::1",
                dashboard: Programs.home?.appending(path: "Runtime/dashboard/index.html")
            ),
            appsPort: ports[0],
            metrics: observation.metrics
        ) { start.ready($0) }
        let server = SupervisedProgram(name: "temporal", command: temporalCommand(temporalPort))
        let programs = try ports.enumerated().map { index, port in
            SupervisedProgram(
                name: "h\(index + 1)",
                command: try hostCommand(
                    "h\(index + 1)",
                    port: port,
                    temporalPort: temporalPort,
                    secretFile: secretFile
                )
            )
        }
        // Ended in the reverse order: hosts, then control, then Temporal.
        let programsService = SupervisedPrograms(programs: programs)
        let services: [any Service] = observation.services + [server, control, programsService]
        try await start.run(services, endingWithin: .seconds(90)) { apiPort in
            try await serve(token: token, apiPort: apiPort)
        }
        await connection.close()
        Terminal.note("Stopped. `martlet up --hosts \(hosts)` with the same folder goes on where this was.")
    }

    // MARK: - Parts

    private func serve(token: APIToken, apiPort: Int) async throws {
        let endpoint = try Endpoint(validating: "http://\(reachable):\(apiPort)")
        let client = APIClient(endpoint: endpoint, token: token)
        let online = try await awaitHosts(client)
        let file = ClientConfiguration.file()
        try ClientConfiguration(api: "\(endpoint)", token: token.secret).write(file)
        let first = online.first?.ingress.port ?? port
        Terminal.note(
            """
            \(Terminal.styled("Martlet \(Martlet.version)", .bold)) is up with \(hosts) hosts.
              apps       http://<app>.\(domain):\(first)/, and at the other hosts' ports:
                         \(online.map { "\($0.id) \($0.ingress.port)" }.joined(separator: ", "))
              dashboard  \(endpoint)/
              API        \(endpoint)/v1
              token      \(folder.appending(path: "token").path) (for other commands in \(file.path))
              store      \(store)
              state      \(folder.path)
            """
        )
        try await AppFolder.deployAtStart(deploy, by: client)
    }

    private func awaitHosts(_ client: APIClient) async throws -> [HostSummary] {
        let deadline = ContinuousClock.now + Self.patience
        var problem = "none of them came online"
        while ContinuousClock.now < deadline {
            do {
                let online = try await client.hosts().filter { $0.state != .lost && $0.state != .left }
                if online.count >= hosts { return online }
                problem = "\(online.count) of \(hosts) came online"
            } catch let error as MartletError {
                // Temporal or the workflows have not begun.
                problem = error.message
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw MartletError(
            .timeout,
            "start \(hosts) hosts: \(problem) in \(DurationText.format(Self.patience)); the lines above say why"
        )
    }

    private var reachable: String {
        let address = OptionText.reachable(listen)
        return address.contains(":") ? "[\(address)]" : address
    }

    private func temporalCommand(_ port: UInt16) -> ChildProcess.Command {
        ChildProcess.Command(
            executable: temporal.path(percentEncoded: false),
            arguments: [
                "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", "\(port)", "--http-port",
                "0",
                "--db-filename", folder.appending(path: "temporal.db").path(percentEncoded: false),
                "--log-level", "error",
            ],
            environment: ["HOME": folder.path(percentEncoded: false), "PATH": "/usr/bin:/bin"]
        )
    }

    private func hostCommand(
        _ name: String,
        port: UInt16,
        temporalPort: UInt16,
        secretFile: URL
    ) throws -> ChildProcess.Command {
        let data = folder.appending(path: "hosts/\(name)")
        try ClusterFiles.make(data)
        return ChildProcess.Command(
            executable: URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().path(percentEncoded: false),
            arguments: [
                "host", "--id", name, "--data", data.path(percentEncoded: false), "--store", store,
                "--temporal", "127.0.0.1:\(temporalPort)", "--secret-file",
                secretFile.path(percentEncoded: false),
                "--listen", listen, "--port", "\(port)", "--domain", domain, "--log-level", logLevel,
            ] + hostArguments,
            environment: ProcessInfo.processInfo.environment
        )
    }
}

/// A port of the loopback address that nobody listens on now.
enum FreePort {
    static func find() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, size) == 0 ? getsockname(descriptor, pointer, &size) : -1
            }
        }
        guard status == 0 else {
            throw MartletError(.unavailable, "find a free port: \(String(cString: strerror(errno)))")
        }
        return UInt16(bigEndian: address.sin_port)
    }
}
