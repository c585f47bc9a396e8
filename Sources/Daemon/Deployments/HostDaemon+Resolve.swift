import Control
import CSandbox
import Dispatch
import Foundation

extension HostDaemon {
    /// Gets the packages that the app names, and freezes them in its folder.
    ///
    /// Runs `deno install` in a sandbox that sees the app's folder alone, and the harness's `resolve.ts` after it, which
    /// writes what an import map says into the modules themselves; then the declared types of an app with the framework
    /// are read. An app without either costs nothing. Throws ``MartletError`` with code `check_failed` and the
    /// installer's words.
    public func resolve(
        _ version: UnpackedVersion,
        onProgress: @escaping @Sendable (String) async -> Void
    ) async throws -> UnpackedVersion {
        let unfinished = folder.unfinished(version.version.rawValue)
        var version = version
        // Where the version is in its place already, it was resolved before.
        guard FileManager.default.fileExists(atPath: unfinished) else {
            version.warnings = TypeSchema(of: folder.version(version.version.rawValue))?.notes ?? []
            return version
        }
        try TypeSchema.clear(unfinished)
        let secrets = try await registryVariables(of: version.app, in: unfinished)
        let needs = Dependencies(folder: unfinished)
        if needs.installs {
            await onProgress("installing packages")
            try await run(
                ["install", "--node-modules-dir=auto", "--quiet"] + (needs.hasLock ? ["--frozen"] : []),
                in: unfinished,
                app: version.app,
                secrets
            )
        }
        let runtime = configuration.runtimeFolder.path(percentEncoded: false)
        if needs.hasImportMap, FileManager.default.fileExists(atPath: runtime + "/resolve.ts") {
            try await run(
                ["run", "--no-prompt", "--no-lock", "--allow-read", "--allow-write=/app"]
                    + ["--allow-run=" + isolator.toolProgram, "/runtime/resolve.ts"]
                    + ["--root", "/app", "--main", "/app/" + version.main],
                in: unfinished,
                app: version.app,
                secrets
            )
        }
        if TypeSchema.isWanted(main: version.main, in: unfinished) {
            await onProgress("reading the types")
            version.warnings = try await annotate(version, in: unfinished)
        }
        return version
    }

    /// The app's variables that its `.npmrc` names.
    private func registryVariables(of app: ApplicationID, in files: String) async throws -> [String: String] {
        let settings = try RegistrySettings(folder: files)
        guard !settings.variables.isEmpty else { return [:] }
        var values: [String: String] = [:]
        for variable in try await store.environment(of: app) where settings.variables.contains(variable.name)
        {
            values[variable.name] = try clear(variable, of: app)
        }
        return values
    }

    /// Writes down what the types of an app say, for the framework to check requests by.
    ///
    /// An app whose types cannot be read starts without; that is no failure.
    ///
    /// - Returns: what a person should know of it.
    private func annotate(_ version: UnpackedVersion, in files: String) async throws -> [String] {
        try TypeSchema.prepare(files)
        let tool = try await runTool(
            ["run", "--no-prompt", "--no-remote", "--no-lock", "--allow-read"]
                + ["--allow-write=/app/" + TypeSchema.folderName, "--allow-run=" + isolator.toolProgram]
                + ["/runtime/annotate.ts", "--root", "/app", "--main", "/app/" + version.main]
                + ["--out", "/app/" + TypeSchema.path],
            in: files,
            atMost: .seconds(60)
        )
        if tool.end == .exited(status: 0), let schema = TypeSchema(of: files) { return schema.notes }
        try TypeSchema.clear(files)
        let reason = tool.end == nil ? "it took longer than 60 s" : tool.words
        return ["the types are not checked, because they could not be read: " + reason]
    }

    /// Runs the runtime's program on an app's folder and nothing else.
    ///
    /// `secrets`: variables of the app for this run alone; they are in nothing that is kept or shown.
    private func run(
        _ arguments: [String],
        in files: String,
        app: ApplicationID,
        _ secrets: [String: String]
    ) async throws {
        let limit = configuration.timeouts.resolve
        let tool = try await runTool(arguments, in: files, atMost: limit, secrets)
        guard let end = tool.end else {
            throw MartletError(
                .timeout,
                "the packages of \(app) were not there after \(limit.milliseconds / 1000) s"
            )
        }
        guard end == .exited(status: 0) else {
            throw MartletError(
                .checkFailed,
                "the packages of \(app) could not be resolved: `deno \(arguments[0])` \(end)"
                    + (tool.words.isEmpty ? "" : ":\n" + hidden(secrets, in: tool.words))
            )
        }
    }

    private func hidden(_ secrets: [String: String], in text: String) -> String {
        secrets.filter { !$0.value.isEmpty }.reduce(text) {
            $0.replacingOccurrences(of: $1.value, with: "${\($1.key)}")
        }
    }

    /// How the program ended, nil when it was ended after `limit`, and the last lines that it wrote.
    private func runTool(
        _ arguments: [String],
        in files: String,
        atMost limit: Duration,
        _ secrets: [String: String] = [:]
    ) async throws -> (end: ProcessEnd?, words: String) {
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
            environment: configuration.packageEnvironment.merging(secrets) { own, _ in own },
            group: group,
            network: network,
            onLine: { output.take($1) }
        )
        let end = await child.end.wait(atMost: limit)
        if end == nil { child.signal(SIGKILL) }
        return (end, output.text)
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

    init(folder: String) {
        let read = { FileManager.default.contents(atPath: folder + "/" + $0) }
        if let data = read("package.json"),
            // What is no JSON is shown by the installer itself.
            let package = try? JSONDecoder().decode(Package.self, from: data)
        {
            installs =
                package.dependencies?.isEmpty == false || package.optionalDependencies?.isEmpty == false
        }
        if let data = read("deno.json") ?? read("deno.jsonc") {
            // What is no JSON is shown by the runtime itself, which reads it as the map is resolved.
            let json = try? PositionedJSONParser.parse(String(decoding: data, as: UTF8.self))
            hasImportMap = json.map { !Self.targets($0).isEmpty } ?? true
            let isFetched = json.map {
                Self.targets($0).contains { $0.hasPrefix("npm:") || $0.hasPrefix("jsr:") }
            }
            installs = installs || isFetched == true
        }
        // Packages that came with the upload are used as they are.
        if FileManager.default.fileExists(atPath: folder + "/node_modules") { installs = false }
        hasLock = read("deno.lock") != nil
    }

    /// What the names of an import map lead to, in `deno.json` itself, for all modules or for some.
    private static func targets(_ json: PositionedJSON) -> [String] {
        members(json).flatMap { member -> [String] in
            switch member.key {
            case "imports": return strings(member.value)
            case "scopes": return members(member.value).flatMap { strings($0.value) }
            case "importMap": return ["a file"]
            default: return []
            }
        }
    }

    private static func members(_ json: PositionedJSON) -> [PositionedJSON.Member] {
        if case .object(let members) = json.value { members } else { [] }
    }

    private static func strings(_ json: PositionedJSON) -> [String] {
        members(json).compactMap { if case .string(let text) = $0.value.value { text } else { nil } }
    }
}
