import Control
import CSandbox
import Dispatch
import Foundation

extension HostDaemon {
    /// Gets the packages that the app names, and freezes them in its folder.
    ///
    /// Runs `deno install` in a sandbox that sees the app's folder alone, and the harness's `resolve.ts` after it, which
    /// writes what an import map says into the modules themselves. An app without dependencies costs nothing. Throws
    /// ``MartletError`` with code `check_failed` and the installer's words.
    public func resolve(
        _ version: UnpackedVersion,
        onProgress: @escaping @Sendable (String) async -> Void
    ) async throws -> UnpackedVersion {
        let unfinished = folder.unfinished(version.version.rawValue)
        // Where the version is in its place already, it was resolved before.
        guard FileManager.default.fileExists(atPath: unfinished) else { return version }
        let needs = Dependencies(folder: unfinished)
        if needs.installs {
            await onProgress("installing packages")
            try await run(
                ["install", "--node-modules-dir=auto", "--quiet"] + (needs.hasLock ? ["--frozen"] : []),
                in: unfinished,
                app: version.app
            )
        }
        let runtime = configuration.runtimeFolder.path(percentEncoded: false)
        if needs.hasImportMap, FileManager.default.fileExists(atPath: runtime + "/resolve.ts") {
            try await run(
                ["run", "--no-prompt", "--no-lock", "--allow-read", "--allow-write=/app"]
                    + ["--allow-run=" + isolator.toolProgram, "/runtime/resolve.ts"]
                    + ["--root", "/app", "--main", "/app/" + version.main],
                in: unfinished,
                app: version.app
            )
        }
        return version
    }

    /// Runs the runtime's program on an app's folder and nothing else.
    private func run(_ arguments: [String], in files: String, app: ApplicationID) async throws {
        let scratch = folder.stagingPath()
        try StateFolder.make(scratch, mode: 0o700)
        // The next start of the daemon would remove it too.
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        let output = ToolOutput()
        let group = try groups.make("t" + UUID().uuidString.prefix(8))
        defer { _ = group.destroy() }
        try group.set(ControlGroupLimits(memoryBytes: 1 << 30, processes: 256))
        // A registry or proxy that the operator named may be on the host's own network; anything else is public.
        let network = configuration.packageEnvironment.isEmpty ? try gateway?.makeNetwork() : nil
        defer { network?.close() }
        if let network, let gateway { try gateway.apply(.open, to: network) { _ in } }
        let child = try isolator.launchTool(
            arguments,
            files: files,
            cache: scratch,
            environment: configuration.packageEnvironment,
            group: group,
            network: network,
            onLine: { output.take($1) }
        )
        let end = await child.end.wait(atMost: configuration.timeouts.resolve)
        guard let end else {
            child.signal(SIGKILL)
            throw MartletError(
                .timeout,
                "the packages of \(app) were not there after \(configuration.timeouts.resolve.milliseconds / 1000) s"
            )
        }
        guard end == .exited(status: 0) else {
            let words = output.text
            throw MartletError(
                .checkFailed,
                "the packages of \(app) could not be resolved: `deno \(arguments[0])` \(end)"
                    + (words.isEmpty ? "" : ":\n" + words)
            )
        }
    }
}

/// What an app says that it depends on.
struct Dependencies: Equatable {
    /// Packages must be fetched.
    var installs = false
    var hasImportMap = false
    var hasLock = false

    private struct Package: Decodable {
        var dependencies: [String: String]?
        var optionalDependencies: [String: String]?
    }

    private struct Configuration: Decodable {
        var imports: [String: String]?
    }

    init(folder: String) {
        let read = { FileManager.default.contents(atPath: folder + "/" + $0) }
        if let data = read("package.json"),
            // What is no JSON is shown by the installer itself.
            let package = try? JSONDecoder().decode(Package.self, from: data)
        {
            installs =
                package.dependencies?.isEmpty == false || package.optionalDependencies?.isEmpty == false
        }
        if let data = read("deno.json") ?? read("deno.jsonc"),
            let configuration = try? JSONDecoder().decode(Configuration.self, from: data)
        {
            let imports = configuration.imports ?? [:]
            hasImportMap = !imports.isEmpty
            let isFetched = imports.values.contains { $0.hasPrefix("npm:") || $0.hasPrefix("jsr:") }
            installs = installs || isFetched
        }
        // Packages that came with the upload are used as they are.
        if FileManager.default.fileExists(atPath: folder + "/node_modules") { installs = false }
        hasLock = read("deno.lock") != nil
    }
}
