public import Control
public import Foundation

/// How a host works; everything but the folders has a default.
public struct HostConfiguration: Sendable {
    /// Where the state is kept.
    public var folder: URL
    public var host: HostID
    /// Addresses that the ingress listens on.
    public var listeners: [Listener]
    /// Where it listens with TLS, beside these.
    public var tls: TLS?
    /// Apps answer at `<app>.<domain>`.
    public var domain = "localhost"
    /// The app that answers requests for every other host name, in place of the API.
    public var standardApp: ApplicationID?
    /// The folder with the worker's harness: `Runtime/` of the source tree.
    public var runtimeFolder: URL
    /// The runtime's program.
    public var deno: URL
    public var sandbox = Sandbox.bubblewrap(URL(fileURLWithPath: "/usr/bin/bwrap"))
    /// Where databases are replicated to; nothing is where there is none.
    package var store: HostStore?
    /// The networks of workers.
    public var network = Network()
    /// What this machine may lack without keeping the host from starting.
    public var without: Set<Isolation> = []
    public var pool = Pool()
    public var limits = Limits()
    public var sleep = Sleep()
    public var timeouts = Timeouts()
    /// Variables for the installation of packages, such as `NPM_CONFIG_REGISTRY`: those of this process that name a
    /// registry or a proxy.
    public var packageEnvironment = ProcessInfo.processInfo.environment.filter {
        ["NPM_CONFIG_REGISTRY", "JSR_URL", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"].contains($0.key)
    }

    /// How the host takes part in a cluster; nil for a host on its own.
    public var cluster: ClusterConfiguration?

    public init(folder: URL, host: HostID, listeners: [Listener], runtimeFolder: URL, deno: URL) {
        self.folder = folder
        self.host = host
        self.listeners = listeners
        self.runtimeFolder = runtimeFolder
        self.deno = deno
    }

    public struct Listener: Sendable, Equatable {
        /// A numeric address.
        public var address: String
        /// 0 for any free port.
        public var port: UInt16

        public init(address: String = "127.0.0.1", port: UInt16) {
            self.address = address
            self.port = port
        }
    }

    /// TLS 1.2 and 1.3, with HTTP/2 for clients that speak it.
    public struct TLS: Sendable {
        public var listeners: [Listener]
        /// Chosen by the name that the client asks for and those that the certificates are for; the first where none
        /// fits.
        public var certificates: [Certificate]
        /// How often the files are looked at for changes.
        public var reloadInterval = Duration.seconds(10)

        public init(listeners: [Listener], certificates: [Certificate]) {
            self.listeners = listeners
            self.certificates = certificates
        }

        /// PEM files.
        public struct Certificate: Sendable, Equatable {
            /// The certificate with the chain behind it.
            public var chain: URL
            public var key: URL

            public init(chain: URL, key: URL) {
                self.chain = chain
                self.key = key
            }
        }
    }

    public enum Sandbox: Sendable, Equatable {
        /// Namespaces and a minimal root, by this program.
        case bubblewrap(URL)
        /// The same, made by this OCI runtime: `crun`, `runsc`.
        case oci(URL)
        /// The runtime's permissions alone.
        ///
        /// Unsafe with code of others; the daemon warns at start.
        case none
    }

    /// What keeps apps apart, each by something that a machine may lack.
    public enum Isolation: String, Sendable, CaseIterable {
        /// A network of its own for each worker, with rules.
        case network
        /// Rules for files in the kernel (Landlock).
        case files
        /// A list of system calls.
        case calls
        /// Limits of memory, CPU time and processes.
        case limits
    }

    /// How workers reach the public internet.
    public struct Network: Sendable {
        public enum Uplink: String, Sendable, CaseIterable {
            /// By the kernel where the host forwards packets already, otherwise through `pasta`.
            case automatic
            case kernel
            case pasta
            case none
        }

        public var uplink = Uplink.automatic
        /// The network through which packets leave, a file such as `/run/netns/NAME`; nil for this process's own.
        public var outside: String?
        /// Resolvers as `address` or `address#port`; without any those of `/etc/resolv.conf`.
        public var resolvers: [String] = []
        /// What no app may reach besides what is not public: the cluster's own.
        package var denied: [IPRange] = []
        package var limits = NetworkLimits()
        /// The programs `nft` (Debian's package nftables) and `pasta` (passt).
        public var nft = "/usr/sbin/nft"
        public var pasta = "/usr/bin/pasta"

        public init() {}

        /// Adds ranges such as `203.0.113.0/24` to what no app may reach.
        ///
        /// - Throws: ``MartletError`` with code `bad_request`.
        public mutating func deny(_ texts: [String]) throws(MartletError) {
            for text in texts {
                guard let range = IPRange(text) else {
                    throw MartletError(.badRequest, "\(text) is no range of addresses such as 203.0.113.0/24")
                }
                denied.append(range)
            }
        }
    }

    /// Warm workers that wait for an app.
    public struct Pool: Sendable {
        public var minimum = 2
        public var maximum = 8
        /// Workers that boot at the same time.
        public var boots = max(ProcessInfo.processInfo.activeProcessorCount, 1)

        public init() {}
    }

    /// What an app gets when its settings say nothing, and what all may use together.
    public struct Limits: Sendable {
        public var memoryBytes = 256 << 20
        /// Cores.
        public var cpu = 1.0
        public var processes = 64
        public var requestTimeout = Duration.seconds(30)
        /// Of an app's data folder; and how many files it may hold, with one more for each 16 KiB above the default.
        public var diskBytes = 1 << 30
        public var diskFiles = 65_536
        /// What an app may write in a second in the long run, and read from the disk; nil for anything.
        public var writtenBytesPerSecond: Int? = 32 << 20
        public var readBytesPerSecond: Int? = 128 << 20
        /// An app whose modules took longer than this to load at its check is started with its compiled modules at
        /// hand, in a worker of its own instead of one from the pool.
        ///
        /// A boot in the sandbox takes about as long.
        public var slowImport = Duration.milliseconds(150)
        /// Requests that are held at once for one app, and for how long.
        public var heldRequests = 1024
        public var holdTime = Duration.seconds(30)
        /// Starts at the same time, and waiting.
        public var starts = max(ProcessInfo.processInfo.activeProcessorCount * 2, 2)
        public var waitingStarts = 4096
        /// Versions that are kept of each app, besides the one that serves.
        public var versions = 10
        /// Room that a deployment leaves on the disk.
        public var freeDiskBytes = 64 << 20

        public init() {}

        /// How an app that uses much is held back.
        var load: LoadPlan.Limits {
            var limits = LoadPlan.Limits()
            limits.writtenBytesPerSecond = writtenBytesPerSecond
            return limits
        }

        /// What a data folder may hold.
        func disk(_ bytes: Int?) -> DiskUsage {
            let bytes = bytes ?? diskBytes
            return DiskUsage(bytes: bytes, files: max(diskFiles, bytes / 16_384))
        }
    }

    public struct Sleep: Sendable {
        /// Idle time until an app sleeps, where its settings say nothing; nil for never.
        public var after: Duration? = .seconds(60)
        /// How long a frozen worker is kept before it is stopped.
        public var frozenFor = Duration.seconds(600)
        /// Memory that frozen workers may keep; nil for an eighth of the machine's.
        public var frozenBytes: Int?
        /// How often idle apps are looked for.
        public var interval = Duration.milliseconds(500)
        /// Below this share of free memory, frozen workers are stopped and none are made.
        public var minimumFreeMemory = 0.08

        public init() {}
    }

    public struct Timeouts: Sendable {
        /// A worker's boot, without an app.
        public var boot = Duration.seconds(20)
        /// From handing over an app until it is ready.
        public var start = Duration.seconds(10)
        /// Running requests of a worker that is replaced.
        public var drain = Duration.seconds(30)
        /// After that, or for sleep, the app's own end.
        public var stop = Duration.seconds(5)
        /// Background work that keeps an app awake after its last request.
        public var waitUntil = Duration.seconds(30)
        /// One run of a cron job.
        public var cron = Duration.seconds(900)
        /// Resolving dependencies.
        public var resolve = Duration.seconds(180)

        public init() {}
    }
}
