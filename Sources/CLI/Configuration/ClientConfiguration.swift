import Control
import ControlClient
import Foundation

/// The file in which `martlet up` tells the other commands where it is: `$MARTLET_CONFIG`, else
/// `$XDG_CONFIG_HOME/martlet/config.json`, else `~/.config/martlet/config.json`.
struct ClientConfiguration: Codable, Equatable {
    var api: String
    var token: String

    static func file(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> URL {
        if let path = environment["MARTLET_CONFIG"], !path.isEmpty { return URL(filePath: path) }
        if let folder = environment["XDG_CONFIG_HOME"], folder.hasPrefix("/") {
            return URL(filePath: folder).appending(path: "martlet/config.json")
        }
        let home = environment["HOME"] ?? FileManager.default.homeDirectoryForCurrentUser.path
        return URL(filePath: home).appending(path: ".config/martlet/config.json")
    }

    /// Reads the file.
    ///
    /// - Returns: Nothing where there is none.
    /// - Throws: ``MartletError`` where it cannot be used.
    static func read(_ file: URL) throws(MartletError) -> ClientConfiguration? {
        // A file that is absent and one that cannot be read are the same here.
        guard let data = try? Data(contentsOf: file) else { return nil }
        do {
            return try JSONDecoder().decode(Self.self, from: data)
        } catch {
            throw MartletError(
                .badRequest,
                "\(file.path) is not a configuration of martlet: it needs {\"api\": \"http://…\", \"token\": \"…\"}. "
                    + "Remove it, and `martlet up` writes it anew"
            )
        }
    }

    /// Writes the file for its owner alone, by a temporary name.
    func write(_ file: URL) throws {
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(),
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try SecretFile.write(try encoder.encode(self) + Data("\n".utf8), to: file)
    }
}
