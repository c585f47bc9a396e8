import Control
import ControlAPI
import Daemon
import Foundation
import Logging
import Metrics
import OpenTelemetry
import ServiceLifecycle
import Tracing

/// The options that `martlet up` and `martlet host` have in common, and what a host makes of them.
protocol HostOptions {
    var listen: String { get }
    var port: UInt16 { get }
    var domain: String { get }
    var sandbox: Up.SandboxKind { get }
    var isolation: IsolationOptions { get }
    var sleepAfter: String { get }
    var memory: String { get }
    var deno: String? { get }
    var runtime: String? { get }
}

extension HostOptions {
    /// A host as the options describe it, without a store.
    ///
    /// - Throws: ``MartletError`` that names the option to change.
    func hostConfiguration(_ folder: URL, host: HostID) throws -> HostConfiguration {
        guard
            let runtimeFolder = runtime.map({ URL(filePath: $0) })
                ?? Programs.home?.appending(path: "Runtime")
        else {
            throw MartletError(
                .badRequest,
                "the worker's harness is not found from this program upwards; name its folder with --runtime DIR"
            )
        }
        guard
            let deno = Programs.tool(
                "deno",
                given: deno ?? ProcessInfo.processInfo.environment["MARTLET_DENO"]
            )
        else {
            throw MartletError(
                .unavailable,
                "deno is not found; run `make tools`, or name it with --deno FILE"
            )
        }
        var configuration = HostConfiguration(
            folder: folder,
            host: host,
            listeners: [HostConfiguration.Listener(address: listen, port: port)],
            runtimeFolder: runtimeFolder,
            deno: deno
        )
        configuration.domain = domain
        try isolation.apply(to: &configuration)
        configuration.sandbox = sandbox.choice
        configuration.sleep.after = try OptionText.duration(sleepAfter, "--sleep-after")
        configuration.limits.memoryBytes = try OptionText.bytes(memory, "--memory")
        return configuration
    }

    func warnOfMissingSandbox() {
        guard sandbox == .none else { return }
        Terminal.warning(
            "workers run without a sandbox; run only apps that you trust like your own programs"
        )
    }
}

extension APIConfiguration.Address {
    /// The API is behind the ingress, on a socket in the state folder unless its path is too long for one (108 bytes
    /// with the zero in `sockaddr_un`).
    static func behindIngress(in folder: URL) -> Self {
        let path = folder.appending(path: "api.sock").path
        guard path.utf8.count < 108 else { return .host("127.0.0.1", port: 0) }
        unlink(path)
        return .unixSocket(path: path)
    }
}

extension HostDaemon {
    /// Opens the ingress before an API that listens already; `port` is its port where it has one.
    func start(before api: APIConfiguration.Address, port: Int?) async throws {
        switch api {
        case .unixSocket(let path): try await start(api: .unix(path: path))
        case .host(let name, _): try await start(api: .tcp(host: name, port: UInt16(port ?? 0)))
        }
    }
}

extension Up.LogLevel {
    /// Begins to log to standard error from this level on, to count, and to trace where the environment says to whom;
    /// called once.
    ///
    /// - Parameters:
    ///   - service: the name in traces.
    ///   - instance: which of several it is.
    /// - Returns: what its services and its API need of that.
    func begin(as service: String, instance: String? = nil) -> Observation {
        let level = Logger.Level(rawValue: rawValue) ?? .notice
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = level
            return handler
        }
        let metrics = PrometheusRegistry()
        MetricsSystem.bootstrap(metrics)
        return Observation(metrics: metrics, services: Self.traces(service, instance))
    }

    private static func traces(_ service: String, _ instance: String?) -> [any Service] {
        let reading = TelemetrySettings.read(ProcessInfo.processInfo.environment, service: service)
        for warning in reading.warnings { Terminal.warning(warning) }
        guard var settings = reading.settings else { return [] }
        if let instance { settings.resource["service.instance.id"] = instance }
        settings.resource["service.version"] = Martlet.version
        let exporter = SpanExporter(
            settings,
            version: Martlet.version,
            logger: Logger(label: "martlet.traces")
        )
        InstrumentationSystem.bootstrap(exporter.tracer)
        return [exporter]
    }
}

/// What a process tells of itself.
struct Observation {
    let metrics: PrometheusRegistry
    /// They are given first to a group, so that they end last.
    let services: [any Service]
}

/// Values of options, as people write them.
enum OptionText {
    static func duration(_ text: String, _ option: String) throws(MartletError) -> Duration {
        guard let duration = DurationText.parse(text) else {
            throw MartletError(.badRequest, "\(option) \(text) is no duration such as 30s or 5m")
        }
        return duration
    }

    static func bytes(_ text: String, _ option: String) throws(MartletError) -> Int {
        guard let bytes = ByteCount.parse(text), bytes > 0 else {
            throw MartletError(.badRequest, "\(option) \(text) is no size such as 128MiB")
        }
        return bytes
    }

    /// An address to listen on, as one to connect to.
    static func reachable(_ address: String) -> String {
        address == "0.0.0.0" ? "127.0.0.1" : address == "::" ? "::1" : address
    }
}
