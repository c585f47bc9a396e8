import ArgumentParser
import Control
import Foundation

/// `martlet init`.
struct Init: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a first app.",
        discussion: """
            Templates: api (routes with types, a database, an API page), chat (a WebSocket and a page), plain (one fetch \
            function without the framework). The framework itself is copied beside the app, for editors and `deno check` \
            without a network; it is not uploaded.
            """
    )

    enum Template: String, ExpressibleByArgument, CaseIterable {
        case api, chat, plain
    }

    @Argument(help: "The folder to write to.", completion: .directory) var folder = "."
    @Option(help: "The app's name; without it the folder's.") var name: String?
    @Option(help: "What to start from.") var template = Template.api
    @OptionGroup var tools: ToolOptions

    func run() async throws {
        let url = URL(filePath: folder).standardizedFileURL
        let app = try ApplicationID(validating: name ?? url.lastPathComponent.lowercased())
        let runtime = try tools.runtimeFolder()
        let source = runtime.appending(path: "templates/\(template.rawValue)")
        let manager = FileManager.default
        let files = try manager.contentsOfDirectory(atPath: source.path).sorted()
        for file in files where manager.fileExists(atPath: url.appending(path: file).path) {
            throw MartletError(
                .conflict,
                "\(url.appending(path: file).path) is there already; nothing was written"
            )
        }
        try manager.createDirectory(at: url, withIntermediateDirectories: true)
        for file in files {
            let text = try String(contentsOf: source.appending(path: file), encoding: .utf8)
            let filled = text.replacingOccurrences(of: "{{name}}", with: app.rawValue)
            try Data(filled.utf8).write(to: url.appending(path: file))
        }
        try Self.copyFramework(runtime, to: url)
        Terminal.note("wrote \(files.joined(separator: ", ")) to \(url.path)")
        Terminal.note("next: martlet dev \(folder), then martlet deploy \(folder)")
    }

    /// Puts the framework where the app's deno.json says that it is.
    static func copyFramework(_ runtime: URL, to folder: URL) throws {
        let target = folder.appending(path: ".martlet/framework")
        let manager = FileManager.default
        if manager.fileExists(atPath: target.path) { try manager.removeItem(at: target) }
        try manager.createDirectory(at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
        try manager.copyItem(at: runtime.appending(path: "martlet"), to: target)
    }
}
