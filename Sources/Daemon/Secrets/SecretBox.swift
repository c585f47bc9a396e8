import Control
import Crypto
package import Foundation

/// Seals values with the host's key: AES-GCM with 256 bits, bound to the app and the name that they belong to.
package struct SecretBox: Sendable {
    private let key: SymmetricKey

    /// Reads the key file, or makes one with mode 0600.
    ///
    /// - Throws: ``MartletError`` when the file is not a key, or others may read it.
    package init(keyFile path: String) throws {
        if let data = FileManager.default.contents(atPath: path) {
            guard data.count == 32 else {
                throw MartletError(
                    .internal,
                    "\(path) is not a key: it has \(data.count) bytes instead of 32; restore it"
                )
            }
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
            guard let mode, mode.intValue & 0o077 == 0 else {
                throw MartletError(
                    .internal,
                    "others may read the key file \(path); run `chmod 600 \(path)` and change the secrets"
                )
            }
            key = SymmetricKey(data: data)
        } else {
            key = SymmetricKey(size: .bits256)
            try StateFolder.write(key.withUnsafeBytes { Data($0) }, to: path, mode: 0o600)
        }
    }

    package func seal(_ value: String, app: String, name: String) throws -> Data {
        let box = try AES.GCM.seal(Data(value.utf8), using: key, authenticating: Self.context(app, name))
        guard let combined = box.combined else { throw MartletError(.internal, "seal the secret \(name)") }
        return combined
    }

    package func open(_ data: Data, app: String, name: String) throws -> String {
        do {
            let box = try AES.GCM.SealedBox(combined: data)
            return String(
                decoding: try AES.GCM.open(box, using: key, authenticating: Self.context(app, name)),
                as: UTF8.self
            )
        } catch {
            throw MartletError(
                .internal,
                "the secret \(name) of \(app) cannot be opened with this host's key; set it again with `martlet env set`"
            )
        }
    }

    private static func context(_ app: String, _ name: String) -> Data { Data("\(app)\u{0}\(name)".utf8) }
}
