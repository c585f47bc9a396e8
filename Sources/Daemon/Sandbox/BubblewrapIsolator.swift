import Foundation

/// Namespaces of its own and a minimal read-only root, by bubblewrap (`bwrap`, Debian's package bubblewrap).
///
/// bubblewrap's first process makes a second one, in namespaces, which ties itself to the first only when it has set up
/// all else: a host that is killed before would leave it, waiting for the first for ever. So the first process already has
/// a PID namespace, with which the kernel ends whatever is in it.
package struct BubblewrapIsolator: Isolator {
    package let name = "bubblewrap"
    package let graftsFolders: Bool

    package let guardian: Guardian

    private let bwrap: String
    private let confinement: Confinement
    /// The names' server of the workers' own networks; nil where they share the host's.
    private let nameFiles: NameFiles?
    private let deno: String
    private let runtime: String
    /// Files of the system that the runtime needs: its libraries, the certificates, the names of hosts.
    private let systemFiles: [String]

    private static let layout = WorkerLayout.sandboxed

    /// - Parameters:
    ///   - bwrap: the program.
    ///   - deno: the runtime's program on the host.
    ///   - runtime: the folder with the harness on the host.
    ///   - confinement: what the last program before the runtime takes away.
    ///   - nameFiles: what the worker reads about names, where its network is its own.
    ///   - graftsFolders: whether this process may enter a sandbox's mount namespace (CAP_SYS_ADMIN).
    package init(
        bwrap: String,
        deno: String,
        runtime: String,
        confinement: Confinement,
        nameFiles: NameFiles?,
        graftsFolders: Bool
    ) {
        self.bwrap = bwrap
        self.confinement = confinement
        self.nameFiles = nameFiles
        // With a piece missing, the runtime's own permissions stay in place.
        guardian = confinement.isWhole && nameFiles != nil && graftsFolders ? .kernel : .runtime
        self.deno = deno
        self.runtime = runtime
        self.graftsFolders = graftsFolders
        systemFiles = SystemFiles.needed(by: deno)
    }

    package var toolProgram: String { Self.layout.deno }

    package func layout(of boot: WorkerBoot) -> WorkerLayout { Self.layout }

    package func launch(
        _ boot: WorkerBoot,
        arguments: [String],
        environment: [String: String],
        onLine: @escaping @Sendable (ChildProcess.Output, ArraySlice<UInt8>) -> Void
    ) throws -> ChildProcess {
        var options = Self.namespaces
        for path in systemFiles { options += ["--ro-bind", path, path] }
        options += ["--ro-bind", deno, Self.layout.deno, "--ro-bind", runtime, Self.layout.runtime]
        options += confinement.options
        options += namesOptions(hasOwnNetwork: boot.network != nil)
        options += ["--bind", boot.folder, Self.layout.run]
        if let folders = boot.folders, !graftsFolders {
            options += ["--ro-bind", folders.app, Self.layout.app, "--bind", folders.data, Self.layout.data]
        } else {
            options += ["--dir", Self.layout.app, "--dir", Self.layout.data]
        }
        options += ["--symlink", "var/data", "/data"]
        if let cache = boot.folders?.cache {
            options += ["--bind", cache, Self.layout.cache]
        } else if let cache = boot.runtimeCache {
            options += Self.sharedCache(cache)
        } else {
            options += ["--size", "67108864", "--tmpfs", Self.layout.cache]
        }
        // Last of all the root itself becomes read-only; what is mounted in it stays as it is.
        options += ["--remount-ro", "/", "--chdir", "/"]
        for (key, value) in environment.sorted(by: { $0.key < $1.key }) {
            options += ["--setenv", key, value]
        }
        var command = ChildProcess.Command(
            path: bwrap,
            arguments: options + ["--"] + confinement.command(Self.layout)
                + [Self.layout.deno] + arguments,
            environment: [:]
        )
        command.endsWithAll = true
        command.openFiles = 4096
        command.turn = WorkerBoot.turn
        command.outputBytesPerSecond = WorkerBoot.outputBytesPerSecond
        return try ChildProcess.start(
            command,
            in: boot.group,
            network: boot.network,
            queue: boot.queue,
            onLine: onLine
        )
    }

    package func launchTool(
        _ arguments: [String],
        files: String,
        cache: String,
        environment: [String: String],
        group: any ControlGroup,
        network: WorkerNetwork?,
        onLine: @escaping @Sendable (ChildProcess.Output, ArraySlice<UInt8>) -> Void
    ) throws -> ChildProcess {
        var options = Self.namespaces
        for path in systemFiles { options += ["--ro-bind", path, path] }
        options += ["--ro-bind", deno, Self.layout.deno, "--ro-bind", runtime, Self.layout.runtime]
        options += confinement.options
        options += namesOptions(hasOwnNetwork: network != nil)
        options += ["--bind", files, Self.layout.app, "--bind", cache, Self.layout.cache]
        options += ["--dir", Self.layout.data, "--dir", Self.layout.run]
        options += ["--remount-ro", "/", "--chdir", Self.layout.app]
        for (key, value) in ToolEnvironment.make(Self.layout).merging(environment, uniquingKeysWith: { $1 }) {
            options += ["--setenv", key, value]
        }
        var command = ChildProcess.Command(
            path: bwrap,
            arguments: options + ["--"]
                + confinement.command(Self.layout, writable: [Self.layout.app])
                + [Self.layout.deno] + arguments,
            environment: [:]
        )
        command.endsWithAll = true
        let queue = DispatchQueue(label: "tool", target: .global(qos: .utility))
        return try ChildProcess.start(command, in: group, network: network, queue: queue, onLine: onLine)
    }

    package func graft(_ folders: WorkerFolders, into boot: WorkerBoot, pid: Int32) async throws {
        try await FolderGraft.perform(folders, Self.layout, into: boot, pid: pid)
    }

    private func namesOptions(hasOwnNetwork: Bool) -> [String] {
        guard hasOwnNetwork, let nameFiles else {
            let files = ["/etc/resolv.conf", "/etc/hosts"].filter {
                FileManager.default.fileExists(atPath: $0)
            }
            return files.flatMap { ["--ro-bind", $0, $0] }
        }
        return [
            "--ro-bind", nameFiles.resolver, "/etc/resolv.conf", "--ro-bind", nameFiles.hosts, "/etc/hosts",
        ]
    }

    /// Everything of its own but the network, which the child enters before bubblewrap starts.
    private static let namespaces = [
        "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
        "--uid", "1000", "--gid", "1000", "--hostname", "worker", "--cap-drop", "ALL",
        "--die-with-parent", "--new-session", "--clearenv",
        "--proc", "/proc", "--dev", "/dev", "--size", "67108864", "--tmpfs", "/tmp",
        "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
    ]

    /// The harness's compiled modules, read-only, with room in memory beside them for those of the app.
    ///
    /// A module that is compiled is written; where that fails, the runtime tries again for 150 ms before it goes on
    /// without (`atomic_write_file_with_retries` of Deno's `sys_traits`), and every wake would wait for it.
    private static func sharedCache(_ cache: String) -> [String] {
        let (modules, own) = (RuntimeCache.modules, RuntimeCache.ownModules)
        return [
            "--ro-bind", cache, layout.cache, "--size", "67108864", "--tmpfs", layout.cache + modules,
            "--ro-bind-try", cache + own, layout.cache + own,
        ]
    }
}
