public import Temporal

public import Foundation
import Synchronization
import TemporalAPI

/// A real Temporal server for tests: on free ports of the loopback address, in a temporary folder of its own.
///
/// ```swift
/// try await TestServer.with { server in
///     let connection = server.connection()
///     …
/// }
/// ```
public final class TestServer: Sendable {
    public enum Kind: Sendable {
        /// `temporal server start-dev`: the real server, in one process. Real time.
        case development
        /// The test server of the Java SDK: timers fire as soon as nothing else is to be done. Knows less.
        case timeSkipping
    }

    public struct Options: Sendable {
        public var kind = Kind.development
        public var namespaces = ["default"]
        /// Names and types (Keyword, Text, Int, Double, Bool, Datetime, KeywordList).
        public var searchAttributes: [String: String] = [:]
        /// Keeps everything in a database file, so that the server can be restarted.
        public var isDurable = false
        /// Settings of the server, by name, with values in JSON.
        public var dynamicConfiguration: [String: String] = [:]
        /// How long the server may take until it answers.
        public var startTimeout = Duration.seconds(60)

        public init(
            kind: Kind = .development,
            searchAttributes: [String: String] = [:],
            isDurable: Bool = false,
            dynamicConfiguration: [String: String] = [:]
        ) {
            self.kind = kind
            self.searchAttributes = searchAttributes
            self.isDurable = isDurable
            self.dynamicConfiguration = dynamicConfiguration
        }
    }

    public let options: Options
    public let host = "127.0.0.1"
    /// The gRPC port.
    public let port: Int
    /// The port of the HTTP API; 0 where there is none.
    public let httpPort: Int
    /// The server's folder; tests may use it for files of their own.
    public let folder: URL
    private let program: Mutex<Program?>

    private init(_ options: Options, ports: [Int], folder: URL) {
        self.options = options
        self.folder = folder
        port = ports[0]
        httpPort = options.kind == .development ? ports[1] : 0
        program = Mutex(nil)
    }

    /// Tests that run at once take turns: a machine full of servers is too slow for any of them.
    private static let places = Slots(2 * ProcessInfo.processInfo.activeProcessorCount)

    /// Starts a server, runs the body, and removes server and folder, whatever happens.
    ///
    /// It waits for its turn while there are two servers for each core; so no body may start another one in this way.
    public static func with<Result>(
        _ options: Options = Options(),
        _ body: (TestServer) async throws -> Result
    ) async throws -> Result {
        try await places.acquire()
        defer { places.release() }
        let server = try await start(options)
        do {
            let result = try await body(server)
            await server.stop()
            return result
        } catch {
            await server.stop()
            throw error
        }
    }

    /// Starts a server that runs until ``stop()``, or the end of this process.
    ///
    /// - Throws: ``TestServerError`` with the server's last words.
    public static func start(_ options: Options = Options()) async throws -> TestServer {
        var attempts = 0
        while true {
            let folder = FileManager.default.temporaryDirectory.appending(
                path: "temporal-test-\(UUID().uuidString)"
            )
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let server = TestServer(options, ports: try await Program.freePorts(2), folder: folder)
            do {
                try await server.launch()
                return server
            } catch {
                await server.stop()
                // Another process may have taken the port in the meantime.
                attempts += 1
                if attempts == 3 || Task.isCancelled { throw error }
            }
        }
    }

    /// Ends the server and removes its folder.
    public func stop() async {
        await end(signal: SIGTERM)
        // A folder that cannot be removed is left to the system's own clean-up.
        try? FileManager.default.removeItem(at: folder)
    }

    /// Kills the server as a crash would.
    ///
    /// ``launch()`` starts it again; a durable one remembers.
    public func kill() async { await end(signal: SIGKILL) }

    /// Stops the server from answering, without closing its connections, until ``resume()``.
    public func pause() { program.withLock { $0?.signal(SIGSTOP) } }

    public func resume() { program.withLock { $0?.signal(SIGCONT) } }

    private func end(signal: Int32) async {
        let running = program.withLock { program in
            defer { program = nil }
            return program
        }
        running?.signal(SIGCONT)
        await running?.stop(signal: signal)
    }

    /// A connection to the server; close it when it is done with.
    public func connection(
        namespace: String = "default",
        identity: String? = nil,
        _ change: (inout TemporalConnection.Configuration) -> Void = { _ in }
    ) -> TemporalConnection {
        var configuration = TemporalConnection.Configuration(
            host: host,
            port: port,
            namespace: namespace,
            identity: identity
        )
        change(&configuration)
        return TemporalConnection(configuration)
    }

    /// Starts the server's program and waits until it answers.
    public func launch() async throws {
        let isDevelopment = options.kind == .development
        let path =
            try isDevelopment
            ? Program.find("temporal", variable: "TEMPORAL_PROGRAM", group: "run")
            : Program.find("temporal-test-server", variable: "TEMPORAL_TEST_SERVER_PROGRAM", group: "test")
        let started = try Program(
            path,
            isDevelopment ? developmentArguments : ["\(port)", "--enable-time-skipping"],
            folder: folder,
            name: "server",
            removesFolder: true
        )
        program.withLock { $0 = started }

        let connection = connection { $0.backoff.maximum = .milliseconds(200) }
        let deadline = ContinuousClock.now + options.startTimeout
        var problem = "no answer in \(options.startTimeout)"
        while ContinuousClock.now < deadline {
            do {
                try await connection.connect(timeout: .milliseconds(500))
                if isDevelopment { try await awaitNamespaces(connection) }
                await connection.close()
                return
            } catch let error as RPCError {
                problem = error.description
            }
            guard started.isRunning else {
                problem = "it ended"
                break
            }
        }
        await connection.close()
        throw TestServerError("start \(path) on port \(port): \(problem)\n\(started.lastOutput)")
    }

    private var developmentArguments: [String] {
        var arguments = [
            "server", "start-dev", "--headless", "--ip", host, "--port", "\(port)", "--http-port",
            "\(httpPort)",
            "--log-level", "warn",
        ]
        if options.isDurable { arguments += ["--db-filename", folder.appending(path: "temporal.db").path] }
        for namespace in options.namespaces where namespace != "default" {
            arguments += ["--namespace", namespace]
        }
        for (name, type) in options.searchAttributes.sorted(by: { $0.key < $1.key }) {
            arguments += ["--search-attribute", "\(name)=\(type)"]
        }
        for (name, value) in options.dynamicConfiguration.sorted(by: { $0.key < $1.key }) {
            arguments += ["--dynamic-config-value", "\(name)=\(value)"]
        }
        return arguments
    }

    /// The server answers a little before it knows its namespaces.
    private func awaitNamespaces(_ connection: TemporalConnection) async throws {
        for namespace in options.namespaces {
            var request = APIDescribeNamespaceRequest()
            request.namespace = namespace
            let _: APIDescribeNamespaceResponse = try await connection.call(
                "DescribeNamespace",
                request,
                timeout: .milliseconds(500)
            )
        }
    }
}
