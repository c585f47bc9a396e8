import Glibc
import Proxy
import Synchronization

/// A proxy on a free port, with a folder for sockets; everything is gone afterwards, however the test ends.
final class ProxyFixture: Sendable {
    let proxy: ProxyServer
    let app: App
    let folder: String
    let observer: RecordingObserver

    var port: UInt16 { proxy.addresses.first?.port ?? 0 }
    var socketPath: String { folder + "/up.sock" }

    private init(proxy: ProxyServer, app: App, folder: String, observer: RecordingObserver) {
        self.proxy = proxy
        self.app = app
        self.folder = folder
        self.observer = observer
    }

    func connect() throws -> TestSocket { try TestSocket.connect(port: port) }

    /// Sends one request on a new connection and reads to the end.
    func exchange(_ request: String) throws -> String {
        let client = try connect()
        defer { client.close() }
        client.send(request)
        return String(decoding: client.readToEnd(), as: UTF8.self)
    }

    var upstream: Upstream { Upstream(app: app, address: .unix(path: socketPath)) }

    /// Waits until something is so, for at most a minute and a half.
    func wait(until condition: () -> Bool) async -> Bool {
        for _ in 0..<9000 {
            if condition() { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return condition()
    }

    /// Runs a proxy that forwards everything to the socket in the fixture's folder, unless `router` says otherwise.
    static func with(
        limits: AppLimits = AppLimits(),
        options: Upstream.Options = Upstream.Options(),
        configure: (inout ProxyConfiguration) -> Void = { _ in },
        router: ((App, String) -> any Router)? = nil,
        _ body: (ProxyFixture) async throws -> Void
    ) async throws {
        try await withFolder { folder in
            try await with(folder, limits, options, configure, router, body)
        }
    }

    /// Runs `body` with a temporary folder for sockets.
    static func withFolder(_ body: (String) async throws -> Void) async throws {
        var template = Array("/tmp/proxy-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("make a folder") }
        let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { removeFolder(folder) }
        try await body(folder)
    }

    private static func with(
        _ folder: String,
        _ limits: AppLimits,
        _ options: Upstream.Options,
        _ configure: (inout ProxyConfiguration) -> Void,
        _ router: ((App, String) -> any Router)?,
        _ body: (ProxyFixture) async throws -> Void
    ) async throws {
        var configuration = ProxyConfiguration(listeners: [.init(address: "127.0.0.1", port: 0)])
        configure(&configuration)
        let app = App(name: "app", limits: limits)
        let observer = RecordingObserver()
        let upstream = Upstream(app: app, address: .unix(path: folder + "/up.sock"), options: options)
        let proxy = try ProxyServer(
            configuration,
            router: router?(app, folder) ?? NameRouter([:], otherwise: .forward(upstream)),
            observer: observer
        )
        try proxy.start()
        let fixture = ProxyFixture(proxy: proxy, app: app, folder: folder, observer: observer)
        do {
            try await body(fixture)
        } catch {
            proxy.stop()
            await proxy.stopped()
            throw error
        }
        proxy.stop()
        await proxy.stopped()
    }

    private static func removeFolder(_ folder: String) {
        if let entries = opendir(folder) {
            while let entry = readdir(entries) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name != "." && name != ".." { unlink(folder + "/" + name) }
            }
            closedir(entries)
        }
        rmdir(folder)
    }
}

/// Notes what it is told.
final class RecordingObserver: ProxyObserver {
    private let state = Mutex<(started: [String], ended: [RequestSummary])>(([], []))

    var started: [String] { state.withLock { $0.started } }
    var ended: [RequestSummary] { state.withLock { $0.ended } }

    func requestStarted(_ request: borrowing RoutedRequest, app: App) {
        let line = "\(request.method) \(request.hostName) \(request.path)"
        state.withLock { $0.started.append(line) }
    }

    func requestEnded(_ summary: RequestSummary) { state.withLock { $0.ended.append(summary) } }
}
