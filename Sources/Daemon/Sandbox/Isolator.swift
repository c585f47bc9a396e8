import CSandbox
package import Dispatch

/// Puts a worker's process into its sandbox.
///
/// The kinds differ in what they keep apart, not in what a worker sees.
package protocol Isolator: Sendable {
    /// For people: `bubblewrap`, `none`.
    var name: String { get }
    /// Whether folders can be put into a worker that already waits.
    ///
    /// Without that there is no pool.
    var graftsFolders: Bool { get }
    /// The runtime's program as ``launchTool(_:files:cache:environment:group:network:onLine:)`` sees it.
    var toolProgram: String { get }

    /// Who keeps an app within its bounds.
    var guardian: Guardian { get }

    /// Where the worker finds what it is given.
    func layout(of boot: WorkerBoot) -> WorkerLayout

    /// Starts the worker's process.
    ///
    /// - Throws: ``SystemError``.
    func launch(
        _ boot: WorkerBoot,
        arguments: [String],
        environment: [String: String],
        onLine: @escaping @Sendable (ChildProcess.Output, ArraySlice<UInt8>) -> Void
    ) throws -> ChildProcess

    /// Starts the runtime's program with an app's folder, writable, and nothing else of this host; the network is open.
    ///
    /// The folder is at `/app` and is the working directory. Throws ``SystemError``.
    func launchTool(
        _ arguments: [String],
        files: String,
        cache: String,
        environment: [String: String],
        group: any ControlGroup,
        network: WorkerNetwork?,
        onLine: @escaping @Sendable (ChildProcess.Output, ArraySlice<UInt8>) -> Void
    ) throws -> ChildProcess

    /// Puts an app's folders into a waiting worker and takes its way to the control socket's folder away.
    ///
    /// `pid`: a process inside the sandbox.
    /// Throws ``SystemError``.
    func graft(_ folders: WorkerFolders, into boot: WorkerBoot, pid: Int32) async throws
}

extension ChildProcess {
    /// Starts a program in a control group and a network; where there is none, in this process's.
    static func start(
        _ command: Command,
        in group: (any ControlGroup)?,
        network: WorkerNetwork?,
        queue: DispatchQueue,
        onLine: @escaping @Sendable (Output, ArraySlice<UInt8>) -> Void
    ) throws -> ChildProcess {
        var command = command
        let groups = try group?.entrances() ?? []
        defer { groups.forEach(csandbox_close) }
        command.groups = groups
        command.network = network?.namespace ?? -1
        return try start(command, queue: queue, onLine: onLine)
    }
}

/// Who keeps an app within its bounds.
package enum Guardian: Sendable {
    /// The kernel alone, so that the runtime need refuse nothing: under any set of permissions of its own but all, it
    /// refuses ATTACH and VACUUM INTO too.
    case kernel
    /// The runtime's permissions.
    case runtime
}

/// The folders of an app on the host.
package struct WorkerFolders: Sendable, Equatable {
    /// Read-only in the worker.
    package var app: String
    package var data: String
    /// What the runtime keeps of compiled modules, for this app alone; nil where a temporary one will do.
    package var cache: String?

    package init(app: String, data: String, cache: String? = nil) {
        self.app = app
        self.data = data
        self.cache = cache
    }
}

/// What is known when a worker's process starts.
package struct WorkerBoot: Sendable {
    package var id: WorkerID
    /// The worker's own folder on the host, with its sockets.
    package var folder: String
    /// The app's folders where they are known already, nil for a worker of the pool.
    package var folders: WorkerFolders?
    /// The runtime's compiled modules of the harness, to be read only; nil where there are none, or the app has its own.
    package var runtimeCache: String?
    package var group: (any ControlGroup)?
    package var queue: DispatchQueue
    /// Nil where workers share the host's network.
    package var network: WorkerNetwork?

    /// How long a worker runs before others that wait get their turn.
    ///
    /// The kernel's default is 1.4 to 3 ms, which a neighbour would wait for.
    static let turn = Duration.microseconds(500)
    /// A host's own turn: it is shorter, so that the host need not wait for the end of a worker's.
    static let hostTurn = Duration.microseconds(200)
    /// Beyond that, a worker that writes to its log waits: reading it costs the host more than the app.
    static let outputBytesPerSecond = 4 << 20

    package init(
        id: WorkerID,
        folder: String,
        folders: WorkerFolders?,
        group: (any ControlGroup)?,
        queue: DispatchQueue,
        network: WorkerNetwork? = nil
    ) {
        self.id = id
        self.folder = folder
        self.folders = folders
        self.group = group
        self.queue = queue
        self.network = network
    }
}

/// Paths as the worker sees them.
package struct WorkerLayout: Sendable, Equatable {
    package var deno: String
    package var runtime: String
    package var app: String
    package var data: String
    /// The folder of the sockets.
    package var run: String
    package var cache: String
    package var temporary: String

    package init(
        deno: String,
        runtime: String,
        app: String,
        data: String,
        run: String,
        cache: String,
        temporary: String
    ) {
        self.deno = deno
        self.runtime = runtime
        self.app = app
        self.data = data
        self.run = run
        self.cache = cache
        self.temporary = temporary
    }
}
