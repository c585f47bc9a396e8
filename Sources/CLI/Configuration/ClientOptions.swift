import ArgumentParser
import Control
import ControlClient
import Foundation

/// Where the API is and who asks; options win over the environment, and that over the configuration file.
struct ClientOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The API's address.", valueName: "url"))
    var api: String?

    @Option(help: ArgumentHelp("The API's token. MARTLET_TOKEN is safer: other users can see arguments."))
    var token: String?

    /// The client that the options, the environment and the configuration file describe.
    ///
    /// - Throws: ``MartletError`` where something in them cannot be used.
    func client() throws -> APIClient {
        let resolved = try Self.resolve(
            api: api,
            token: token,
            environment: ProcessInfo.processInfo.environment,
            file: try ClientConfiguration.read(ClientConfiguration.file())
        )
        if resolved.token != nil, !resolved.endpoint.protectsToken {
            Terminal.warning(
                "the token travels unencrypted to \(resolved.endpoint); use https where others can listen"
            )
        }
        return APIClient(endpoint: resolved.endpoint, token: resolved.token)
    }

    static func resolve(
        api: String?,
        token: String?,
        environment: [String: String],
        file: ClientConfiguration?
    ) throws -> (endpoint: Endpoint, token: APIToken?) {
        let address = api ?? environment["MARTLET_API"] ?? file?.api ?? "http://127.0.0.1:8080"
        let endpoint = try Endpoint(validating: address)
        // The file's token belongs to the file's API and is not sent to another.
        let isOfFile = file.map { (try? Endpoint(validating: $0.api)) == endpoint } ?? false
        let secret = token ?? environment["MARTLET_TOKEN"] ?? (isOfFile ? file?.token : nil)
        return (endpoint, try secret.map { text throws(MartletError) in try APIToken(validating: text) })
    }
}

/// An app's name as an argument or from the `martlet.json` of the folder that one stands in.
enum AppName {
    static func resolve(_ argument: String?) throws -> ApplicationID {
        if let argument { return try ApplicationID(validating: argument) }
        let file = URL(filePath: FileManager.default.currentDirectoryPath).appending(
            path: ApplicationSettings.fileName
        )
        if let data = FileManager.default.contents(atPath: file.path),
            let name = try ApplicationSettings(parsing: String(decoding: data, as: UTF8.self)).name
        {
            return name
        }
        throw MartletError(
            .badRequest,
            "which app? Name it, or run this in a folder whose martlet.json has a \"name\""
        )
    }
}
