import ArgumentParser
import Control
import ControlClient
import Foundation

/// `martlet client`.
struct Client: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a typed client of an app, in TypeScript, to standard output.",
        discussion: """
            The client is one file without imports, made of what the app says of itself at /openapi.json:
              martlet client todos > client.ts
            """
    )

    @Argument(help: "The app's name.") var app: String?
    @Option(help: "A file with the description, in place of a deployed app.", completion: .file())
    var description: String?
    @OptionGroup var client: ClientOptions
    @OptionGroup var tools: ToolOptions

    func run() async throws {
        let document: Data
        if let description {
            guard let data = FileManager.default.contents(atPath: description) else {
                throw MartletError(.notFound, "there is no file \(description)")
            }
            document = data
        } else {
            document = Data(try await client.client().description(of: try AppName.resolve(app)))
        }
        let runtime = try tools.runtimeFolder()
        let program = RuntimeTool(deno: try tools.denoProgram(), runtime: runtime)
        let output = try program.run(
            "client.ts",
            permissions: ["--allow-read=\(runtime.path)"],
            input: document
        )
        Terminal.print(String(decoding: output, as: UTF8.self).trimmingTrailingLine)
    }
}

extension String {
    fileprivate var trimmingTrailingLine: String { hasSuffix("\n") ? String(dropLast()) : self }
}

/// Where the runtime is, for commands that use it on this machine.
struct ToolOptions: ParsableArguments {
    @Option(help: "The runtime's program.", completion: .file()) var deno: String?
    @Option(help: "The folder with the worker's harness and the framework.", completion: .directory)
    var runtime: String?

    /// - Throws: ``MartletError`` that says how it is given.
    func runtimeFolder() throws(MartletError) -> URL {
        let given = runtime ?? ProcessInfo.processInfo.environment["MARTLET_RUNTIME"]
        if let given { return URL(filePath: given).standardizedFileURL }
        if let home = Programs.home { return home.appending(path: "Runtime") }
        throw MartletError(
            .badRequest,
            "the framework is not found from this program upwards; name its folder with --runtime DIR"
        )
    }

    /// - Throws: ``MartletError`` that says how it is got.
    func denoProgram() throws(MartletError) -> URL {
        let given = deno ?? ProcessInfo.processInfo.environment["MARTLET_DENO"]
        if let found = Programs.tool("deno", given: given) { return found }
        throw MartletError(.unavailable, "deno is not found; run `make tools`, or name it with --deno FILE")
    }
}
