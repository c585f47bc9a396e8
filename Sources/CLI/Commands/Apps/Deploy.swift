import Archive
import ArgumentParser
import Control
import ControlClient
import Foundation

/// `martlet deploy`.
struct Deploy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Pack a folder, send it, and take it into use.",
        discussion: """
            The app's name comes from --name, from "name" in martlet.json, or from the folder. Files named by .gitignore \
            and .martletignore stay at home, and so do .env files: set secrets with `martlet env set --secret`.
            """
    )

    @Argument(help: "The app's folder.", completion: .directory) var folder = "."
    @Option(help: "The app's name.") var name: String?
    @OptionGroup var client: ClientOptions
    @Flag(help: "Print an object.") var json = false

    func run() async throws {
        let source = try AppFolder(folder)
        let app = try source.name(given: name)
        let client = try client.client()
        let temporary = FileManager.default.temporaryDirectory.appending(
            path: "martlet-\(UUID().uuidString).tar.gz"
        )
        defer { try? FileManager.default.removeItem(at: temporary) }
        let progress = DeploymentProgress()
        let summary = try source.pack(to: temporary)
        Terminal.note("Deploying \(Terminal.styled(app.rawValue, .bold)) to \(client.endpoint)")
        progress.show(DeploymentEvent(.upload, .started, message: "packed \(summary.text)"))
        do {
            let deployment = try await client.deploy(
                temporary,
                bytes: summary.archiveBytes,
                as: app,
                onUpload: { sent in
                    progress.upload(sent, of: summary.archiveBytes)
                    if sent == summary.archiveBytes {
                        progress.show(DeploymentEvent(.upload, .finished, message: summary.text))
                    }
                },
                onEvent: { progress.show($0) }
            )
            try deployment.report(asJSON: json)
        } catch {
            progress.clear()
            throw error
        }
    }
}

/// A folder that is to become a version of an app.
struct AppFolder {
    let url: URL
    let settings: ApplicationSettings

    /// Reads the folder's settings.
    ///
    /// - Throws: ``MartletError`` when it is no folder, or its `martlet.json` has a mistake.
    init(_ path: String) throws {
        url = URL(filePath: path).standardizedFileURL
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
            throw MartletError(.badRequest, "there is no folder \(url.path)")
        }
        guard isFolder.boolValue else {
            throw MartletError(.badRequest, "\(url.path) is a file; give the folder that it is in")
        }
        let file = url.appending(path: ApplicationSettings.fileName)
        guard let data = FileManager.default.contents(atPath: file.path) else {
            settings = ApplicationSettings()
            return
        }
        guard data.count <= ApplicationSettings.maximumFileBytes else {
            throw MartletError(
                .invalidSettings,
                "\(file.path) has more than \(ApplicationSettings.maximumFileBytes) bytes"
            )
        }
        settings = try ApplicationSettings(
            parsing: String(decoding: data, as: UTF8.self),
            file: "\(path)/martlet.json"
        )
    }

    func name(given: String?) throws -> ApplicationID {
        if let given { return try ApplicationID(validating: given) }
        if let name = settings.name { return name }
        guard let name = ApplicationID(url.lastPathComponent.lowercased()) else {
            throw MartletError(
                .badRequest,
                "the folder's name \"\(url.lastPathComponent)\" cannot be an app's name; give one with --name, or write "
                    + "{ \"name\": \"…\" } into martlet.json"
            )
        }
        return name
    }

    /// The script that starts, by the rules of the app's contract.
    func main() throws -> String {
        if let main = settings.main {
            guard isFile(main) else {
                throw MartletError(
                    .invalidSettings,
                    "martlet.json names \"main\": \"\(main)\", but there is no such file"
                )
            }
            return main
        }
        for name in ["main.ts", "main.js"] where isFile(name) { return name }
        if let data = FileManager.default.contents(atPath: url.appending(path: "package.json").path),
            let package = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
            let main = package["main"] as? String
        {
            guard isFile(main) else {
                throw MartletError(
                    .invalidSettings,
                    "package.json names \"main\": \"\(main)\", but there is no such file"
                )
            }
            return main
        }
        if isFile("main.wasm") { return "main.wasm" }
        throw MartletError(
            .invalidSettings,
            "\(url.path) has no main.ts, main.js, main.wasm or \"main\" in package.json or martlet.json; "
                + "`martlet init` writes a first app"
        )
    }

    func pack(to archive: URL) throws -> ArchiveWriter.Summary {
        do {
            let summary = try ArchiveWriter().pack(url, to: archive)
            guard summary.files > 0 else {
                throw MartletError(.invalidArchive, "\(url.path) has no files to deploy")
            }
            if !summary.leftOutSecrets.isEmpty {
                let names = summary.leftOutSecrets.joined(separator: ", ")
                Terminal.note("left at home: \(names) (set secrets with `martlet env set --secret`)")
            }
            return summary
        } catch let error as ArchiveError {
            let code: MartletError.Code = error.code == .tooLarge ? .tooLarge : .invalidArchive
            throw MartletError(code, error.message, cause: error)
        }
    }

    private func isFile(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        let isThere = FileManager.default.fileExists(
            atPath: url.appending(path: path).path,
            isDirectory: &isFolder
        )
        return isThere && !isFolder.boolValue
    }
}

extension ArchiveWriter.Summary {
    var text: String { "\(files) \(files == 1 ? "file" : "files"), \(ByteCount.format(archiveBytes))" }
}

extension AppFolder {
    /// Deploys the folders that the start of a host or of a cluster was given, and says that all is ready.
    static func deployAtStart(_ folders: [String], by client: APIClient) async throws {
        for path in folders {
            let deployment = try await deployAtStart(path, by: client)
            Terminal.note("\(deployment.app) answers at \(deployment.url)")
        }
        let apps = try await client.applications().count
        Terminal.note("Ready: \(apps) \(apps == 1 ? "app" : "apps"). Stop with Ctrl-C.")
    }

    private static func deployAtStart(_ path: String, by client: APIClient) async throws -> Deployment {
        let source = try AppFolder(path)
        let app = try source.name(given: nil)
        let temporary = FileManager.default.temporaryDirectory.appending(
            path: "martlet-\(UUID().uuidString).tar.gz"
        )
        // The system's own clean-up would do it too.
        defer { try? FileManager.default.removeItem(at: temporary) }
        let summary = try source.pack(to: temporary)
        let progress = DeploymentProgress()
        Terminal.note("Deploying \(Terminal.styled(app.rawValue, .bold)) from \(path)")
        return try await client.deploy(
            temporary,
            bytes: summary.archiveBytes,
            as: app,
            onUpload: { _ in },
            onEvent: { progress.show($0) }
        )
    }
}
