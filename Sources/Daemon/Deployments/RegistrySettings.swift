import Control
import Foundation

/// What an app's `.npmrc` says of registries that want to know who asks.
///
/// Tokens do not belong into uploads, which are kept and copied to every host of the app: the file names variables,
/// `//npm.example.org/:_authToken=${NPM_TOKEN}`, and the app's own variables have the values. No other variable is ever
/// put in, whatever the file names.
struct RegistrySettings: Equatable {
    /// The names of the variables that the file mentions.
    var variables: Set<String> = []
    /// Lines that have a secret in the clear, by their numbers from 1.
    var clearLines: [Int] = []

    /// Keys whose values let others in (npm's documentation of `.npmrc`).
    private static let secretKeys = ["_authToken", "_auth", "_password"]
    private static let maximumBytes = 1 << 16

    init(text: String) {
        for (index, line) in text.components(separatedBy: "\n").enumerated() {
            let line = line.trimmingCharacters(in: .whitespaces)
            guard !line.hasPrefix("#"), !line.hasPrefix(";") else { continue }
            let named = line.matches(of: /\$\{(\w+)\??\}/)
            variables.formUnion(named.map { String($0.1) })
            guard let equals = line.firstIndex(of: "=") else { continue }
            let key = line[..<equals].trimmingCharacters(in: .whitespaces)
            let value = line[line.index(after: equals)...].replacing(/\$\{\w+\??\}/, with: "")
            let isClear = value.contains { !$0.isWhitespace && $0 != "\"" && $0 != "'" }
            if isClear, Self.secretKeys.contains(where: { key == $0 || key.hasSuffix(":" + $0) }) {
                clearLines.append(index + 1)
            }
        }
    }

    /// Reads the file of a folder.
    ///
    /// - Throws: ``MartletError`` with code `invalid_settings` for one with a secret in the clear.
    init(folder: String) throws {
        let data = FileManager.default.contents(atPath: folder + "/.npmrc") ?? Data()
        guard data.count <= Self.maximumBytes else {
            throw MartletError(.invalidSettings, ".npmrc has more than \(Self.maximumBytes / 1024) KiB")
        }
        self.init(text: String(decoding: data, as: UTF8.self))
        if let line = clearLines.first {
            throw MartletError(
                .invalidSettings,
                """
                .npmrc:\(line): a token in the clear would be kept with the app; write ${NPM_TOKEN} in its place, and give \
                the value by `martlet env set APP NPM_TOKEN --secret < token.txt`
                """
            )
        }
    }
}
