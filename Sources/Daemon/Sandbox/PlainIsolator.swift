import Dispatch

/// No sandbox but the runtime's own permissions: for machines on which nothing else works, and only on request.
package struct PlainIsolator: Isolator {
    package let name = "none"
    package let graftsFolders = false
    package let guardian = Guardian.runtime

    private let deno: String
    private let runtime: String

    package init(deno: String, runtime: String) {
        self.deno = deno
        self.runtime = runtime
    }

    package var toolProgram: String { deno }

    package func layout(of boot: WorkerBoot) -> WorkerLayout {
        WorkerLayout(
            deno: deno,
            runtime: runtime,
            app: boot.folders?.app ?? boot.folder,
            data: boot.folders?.data ?? boot.folder,
            run: boot.folder,
            cache: boot.folders?.cache ?? boot.folder + "/cache",
            temporary: boot.folder
        )
    }

    package func launch(
        _ boot: WorkerBoot,
        arguments: [String],
        environment: [String: String],
        onLine: @escaping @Sendable (ChildProcess.Output, ArraySlice<UInt8>) -> Void
    ) throws -> ChildProcess {
        var command = ChildProcess.Command(
            path: deno,
            arguments: arguments,
            environment: environment,
            directory: "/"
        )
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
        let layout = WorkerLayout(
            deno: deno,
            runtime: runtime,
            app: files,
            data: cache,
            run: cache,
            cache: cache,
            temporary: cache
        )
        let arguments = arguments.map {
            $0.replacing("/runtime/", with: runtime + "/").replacing("/app", with: files)
        }
        let command = ChildProcess.Command(
            path: deno,
            arguments: arguments,
            environment: ToolEnvironment.make(layout).merging(environment) { $1 },
            directory: files
        )
        let queue = DispatchQueue(label: "tool", target: .global(qos: .utility))
        return try ChildProcess.start(command, in: group, network: nil, queue: queue, onLine: onLine)
    }

    package func graft(_ folders: WorkerFolders, into boot: WorkerBoot, pid: Int32) async throws {}
}

/// The environment of the runtime's program when it works on an app's folder.
enum ToolEnvironment {
    static func make(_ layout: WorkerLayout) -> [String: String] {
        [
            "PATH": "/bin", "HOME": layout.temporary, "DENO_DIR": layout.cache, "NO_COLOR": "1",
            "DENO_NO_UPDATE_CHECK": "1", "LANG": "C.UTF-8",
        ]
    }
}
