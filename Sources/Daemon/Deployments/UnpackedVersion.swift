public import Control
import Foundation

/// An upload that has become a folder: what the steps of a deployment hand from one to the next.
public struct UnpackedVersion: Codable, Sendable, Equatable {
    public var app: ApplicationID
    public var version: VersionID
    public var artifactBytes: Int
    public var settings: ApplicationSettings
    /// The script, relative to the folder.
    public var main: String
    /// Set by the check: see ``HostConfiguration/Limits/slowImport``.
    public var usesCache = false
    /// Set by resolving: what the person should know though the version is good.
    public var warnings: [String] = []

    /// Reads the settings of an unpacked app and finds its script.
    ///
    /// - Throws: ``MartletError`` with code `invalid_settings`.
    static func read(_ folder: String) throws -> (settings: ApplicationSettings, main: String) {
        var settings = ApplicationSettings()
        let file = folder + "/" + ApplicationSettings.fileName
        if let data = FileManager.default.contents(atPath: file) {
            guard data.count <= ApplicationSettings.maximumFileBytes else {
                throw MartletError(
                    .invalidSettings,
                    "martlet.json has more than \(ApplicationSettings.maximumFileBytes) bytes"
                )
            }
            settings = try ApplicationSettings(parsing: String(decoding: data, as: UTF8.self))
        }
        return (settings, try main(settings, folder))
    }

    private static func main(_ settings: ApplicationSettings, _ folder: String) throws -> String {
        if let main = settings.main {
            guard isFile(main, folder) else {
                throw MartletError(
                    .invalidSettings,
                    "martlet.json names \"\(main)\" as main, but the app has no such file"
                )
            }
            return main
        }
        let usual = ["main.ts", "main.js"].first { isFile($0, folder) }
        if let main = usual ?? packageMain(folder) { return main }
        if isFile("main.wasm", folder) { return "main.wasm" }
        throw MartletError(
            .invalidSettings,
            "the app has no script to start: add main.ts, main.js or main.wasm, or name one as \"main\" in martlet.json "
                + "or package.json"
        )
    }

    private static func packageMain(_ folder: String) -> String? {
        struct Package: Decodable { var main: String? }
        guard let data = FileManager.default.contents(atPath: folder + "/package.json"),
            // Without it, as if it were not there.
            let main = (try? JSONDecoder().decode(Package.self, from: data))?.main
        else { return nil }
        let path = main.hasPrefix("./") ? String(main.dropFirst(2)) : main
        return isFile(path, folder) ? path : nil
    }

    private static func isFile(_ path: String, _ folder: String) -> Bool {
        guard !path.hasPrefix("/"), !path.split(separator: "/").contains("..") else { return false }
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: folder + "/" + path, isDirectory: &isFolder)
            && !isFolder.boolValue
    }
}
