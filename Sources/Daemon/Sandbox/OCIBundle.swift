import Foundation

/// What an OCI runtime is told of a sandbox: its `config.json` (OCI Runtime Specification 1.0).
struct OCIBundle: Encodable, Sendable, Equatable {
    var ociVersion = "1.0.2"
    var process: Program
    var root: Root
    var hostname = "worker"
    var mounts: [Mount]
    var linux: Linux

    struct Program: Encodable, Sendable, Equatable {
        var terminal = false
        var user = User()
        var args: [String]
        var env: [String]
        var cwd: String
        var noNewPrivileges = true
        var capabilities = Capabilities()
        var rlimits = [Limit(type: "RLIMIT_NOFILE", hard: 4096, soft: 4096)]
    }

    struct User: Encodable, Sendable, Equatable {
        var uid = OCIBundle.user
        var gid = OCIBundle.user
    }

    /// None of any kind.
    struct Capabilities: Encodable, Sendable, Equatable {
        var bounding: [String] = []
        var effective: [String] = []
        var inheritable: [String] = []
        var permitted: [String] = []
        var ambient: [String] = []
    }

    struct Limit: Encodable, Sendable, Equatable {
        var type: String
        var hard: Int
        var soft: Int
    }

    struct Root: Encodable, Sendable, Equatable {
        var path: String
        var readonly = true
    }

    struct Mount: Encodable, Sendable, Equatable {
        var destination: String
        var type: String
        var source: String
        var options: [String]

        /// A file or folder of the host's.
        static func bind(_ source: String, _ target: String, isWritable: Bool = false) -> Mount {
            Mount(
                destination: target,
                type: "bind",
                source: source,
                options: ["bind", "nosuid", "nodev", isWritable ? "rw" : "ro"]
            )
        }

        /// A folder in memory of 64 MiB.
        static func memory(_ target: String) -> Mount {
            Mount(
                destination: target,
                type: "tmpfs",
                source: "tmpfs",
                options: ["nosuid", "nodev", "mode=1777", "size=67108864"]
            )
        }
    }

    struct Linux: Encodable, Sendable, Equatable {
        /// All but the network, which the runtime's program has entered before.
        var namespaces = ["user", "mount", "pid", "ipc", "uts", "cgroup"].map(Namespace.init)
        var uidMappings = Mapping.all(geteuid())
        var gidMappings = Mapping.all(getegid())
        var maskedPaths = [
            "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
        ]
        var readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
    }

    struct Namespace: Encodable, Sendable, Equatable {
        var type: String
        init(_ type: String) { self.type = type }
    }

    struct Mapping: Encodable, Sendable, Equatable {
        var containerID: Int
        var hostID: Int
        var size = 1

        /// The app's user is this one, who owns its files; root of the sandbox is nobody of this host.
        static func all(_ own: UInt32) -> [Mapping] {
            [
                Mapping(containerID: 0, hostID: OCIBundle.nobody),
                Mapping(containerID: OCIBundle.user, hostID: Int(own)),
            ]
        }
    }

    static let user = 1000
    /// The kernel's overflow user (`/proc/sys/kernel/overflowuid`).
    static let nobody = 65_534

    /// `root`: a folder with an entry for everything that is mounted, see ``makeRoot(_:_:)``.
    init(root: String, mounts: [Mount], arguments: [String], environment: [String: String], folder: String) {
        let own = [
            Mount(
                destination: "/proc",
                type: "proc",
                source: "proc",
                options: ["nosuid", "noexec", "nodev"]
            ),
            Mount(
                destination: "/dev",
                type: "tmpfs",
                source: "tmpfs",
                options: ["nosuid", "noexec", "strictatime", "mode=755", "size=65536"]
            ),
        ]
        process = Program(
            args: arguments,
            env: environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" },
            cwd: folder
        )
        self.root = Root(path: root)
        self.mounts = own + mounts
        linux = Linux()
    }

    /// Makes the folder that is the root of every sandbox: empty files and folders to mount on.
    ///
    /// - Throws: ``SystemError``, or Foundation's errors.
    static func makeRoot(_ root: String, files: [String], folders: [String]) throws {
        for (source, target) in [("usr/lib", "/lib"), ("usr/lib64", "/lib64"), ("var/data", "/data")] {
            try StateFolder.make(root, mode: 0o755)
            if symlink(source, root + target) != 0, errno != EEXIST {
                throw SystemError(errno, "make \(root + target)")
            }
        }
        for folder in folders {
            try FileManager.default.createDirectory(
                atPath: root + folder,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o755]
            )
        }
        for file in files {
            try FileManager.default.createDirectory(
                atPath: ((root + file) as NSString).deletingLastPathComponent,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o755]
            )
            try StateFolder.write(Data(), to: root + file, mode: 0o644)
        }
    }
}
