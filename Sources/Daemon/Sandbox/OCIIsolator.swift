import Dispatch
import Foundation

/// A sandbox made by an OCI runtime such as `crun` or `runsc`.
///
/// What the app sees is the same as under bubblewrap: the same root, networks, limits and confinement.
package struct OCIIsolator: Isolator {
    package let name: String
    package let graftsFolders: Bool
    package let guardian: Guardian

    private let program: String
    private let confinement: Confinement
    private let nameFiles: NameFiles?
    private let deno: String
    private let runtime: String
    private let systemFiles: [String]
    /// Where the runtime keeps what it knows of its sandboxes.
    private let state: String
    private let root: String

    private static let layout = WorkerLayout.sandboxed

    /// Makes the root of all sandboxes.
    ///
    /// `program`: the OCI runtime.
    /// `folder`: what is kept of sandboxes; nothing in it outlives a start of the host.
    ///
    /// - Throws: ``SystemError`` when the root cannot be made.
    package init(
        program: String,
        folder: String,
        deno: String,
        runtime: String,
        confinement: Confinement,
        nameFiles: NameFiles?,
        graftsFolders: Bool
    ) throws {
        name = "OCI runtime \(program)"
        self.program = program
        self.confinement = confinement
        self.nameFiles = nameFiles
        guardian = confinement.isWhole && nameFiles != nil && graftsFolders ? .kernel : .runtime
        self.deno = deno
        self.runtime = runtime
        self.graftsFolders = graftsFolders
        systemFiles = SystemFiles.needed(by: deno)
        state = folder + "/oci"
        root = folder + "/root"
        try StateFolder.make(folder, mode: 0o755)
        // What a daemon before this one has left; its sandboxes end with their control groups.
        try? FileManager.default.removeItem(atPath: state)
        try StateFolder.make(state, mode: 0o700)
        var (files, folders) = (["/etc/resolv.conf", "/etc/hosts", Self.layout.deno], ["/proc", "/dev"])
        if let confine = confinement.place { files.append(confine) }
        for path in systemFiles {
            var isFolder: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            if isFolder.boolValue { folders.append(path) } else { files.append(path) }
        }
        folders += [
            Self.layout.runtime, Self.layout.app, Self.layout.data, Self.layout.run, Self.layout.cache,
            Self.layout.temporary,
        ]
        try OCIBundle.makeRoot(root, files: files, folders: folders)
    }

    package var toolProgram: String { Self.layout.deno }

    package func layout(of boot: WorkerBoot) -> WorkerLayout { Self.layout }

    package func launch(
        _ boot: WorkerBoot,
        arguments: [String],
        environment: [String: String],
        onLine: @escaping @Sendable (ChildProcess.Output, ArraySlice<UInt8>) -> Void
    ) throws -> ChildProcess {
        var mounts = common(hasOwnNetwork: boot.network != nil)
        mounts.append(.bind(boot.folder, Self.layout.run, isWritable: true))
        if let folders = boot.folders, !graftsFolders {
            mounts += [
                .bind(folders.app, Self.layout.app), .bind(folders.data, Self.layout.data, isWritable: true),
            ]
        }
        if let cache = boot.folders?.cache {
            mounts.append(.bind(cache, Self.layout.cache, isWritable: true))
        } else if let cache = boot.runtimeCache {
            // As in the other sandbox: what is compiled of the app goes into memory.
            let own = RuntimeCache.ownModules
            mounts += [
                .bind(cache, Self.layout.cache), .memory(Self.layout.cache + RuntimeCache.modules),
                .bind(cache + own, Self.layout.cache + own),
            ]
        } else {
            mounts.append(.memory(Self.layout.cache))
        }
        let bundle = OCIBundle(
            root: root,
            mounts: mounts,
            arguments: confinement.command(Self.layout) + [Self.layout.deno] + arguments,
            environment: environment,
            folder: "/"
        )
        return try run(
            bundle,
            "\(boot.id)",
            in: boot.folder,
            group: boot.group,
            network: boot.network,
            queue: boot.queue,
            onLine
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
        let mounts =
            common(hasOwnNetwork: network != nil)
            + [
                .bind(files, Self.layout.app, isWritable: true),
                .bind(cache, Self.layout.cache, isWritable: true),
            ]
        let bundle = OCIBundle(
            root: root,
            mounts: mounts,
            arguments: confinement.command(Self.layout, writable: [Self.layout.app])
                + [Self.layout.deno] + arguments,
            environment: ToolEnvironment.make(Self.layout).merging(environment) { $1 },
            folder: Self.layout.app
        )
        let name = "tool-\(UUID().uuidString.prefix(8))"
        let folder = state + "/" + name
        try StateFolder.make(folder, mode: 0o700)
        return try run(
            bundle,
            name,
            in: folder,
            group: group,
            network: network,
            queue: DispatchQueue(label: "tool", target: .global(qos: .utility)),
            onLine
        )
    }

    package func graft(_ folders: WorkerFolders, into boot: WorkerBoot, pid: Int32) async throws {
        try await FolderGraft.perform(folders, Self.layout, into: boot, pid: pid)
    }

    // MARK: - Parts

    /// What is in every sandbox.
    private func common(hasOwnNetwork: Bool) -> [OCIBundle.Mount] {
        var mounts: [OCIBundle.Mount] = systemFiles.map { .bind($0, $0) }
        mounts += [
            .memory(Self.layout.temporary), .bind(deno, Self.layout.deno),
            .bind(runtime, Self.layout.runtime),
        ]
        if let program = confinement.program, let place = confinement.place {
            mounts.append(.bind(program, place))
        }
        let names = hasOwnNetwork ? nameFiles : nil
        mounts += [
            .bind(names?.resolver ?? "/etc/resolv.conf", "/etc/resolv.conf"),
            .bind(names?.hosts ?? "/etc/hosts", "/etc/hosts"),
        ]
        return mounts
    }

    /// Starts the runtime's program, which stays as the sandbox's parent.
    ///
    /// The sandbox ends with its control group, as it does when the daemon is killed: at the next start.
    private func run(
        _ bundle: OCIBundle,
        _ name: String,
        in folder: String,
        group: (any ControlGroup)?,
        network: WorkerNetwork?,
        queue: DispatchQueue,
        _ onLine: @escaping @Sendable (ChildProcess.Output, ArraySlice<UInt8>) -> Void
    ) throws -> ChildProcess {
        // Not in the worker's own folder, which the worker can write to.
        let place = state + "/bundle-" + name
        try StateFolder.make(place, mode: 0o700)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try StateFolder.write(try encoder.encode(bundle), to: place + "/config.json", mode: 0o600)
        // crun refuses machines with both versions of control groups, so it does not get to see the second. The limits are
        // those of the group that it starts in.
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$0\" \"$@\""
        var command = ChildProcess.Command(
            path: "/usr/bin/unshare",
            arguments: [
                "--mount", "--propagation", "private", "--", "/bin/sh", "-c", script, program, "--root",
                state, "--cgroup-manager=disabled", "run", "--bundle", place, "martlet-\(getpid())-\(name)",
            ],
            environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
        )
        command.openFiles = 4096
        command.turn = WorkerBoot.turn
        command.outputBytesPerSecond = WorkerBoot.outputBytesPerSecond
        return try ChildProcess.start(command, in: group, network: network, queue: queue, onLine: onLine)
    }
}
