public import Control
import Crypto
import Foundation

/// What the hosts and the control processes of a cluster share, and what follows from it: by HKDF (RFC 5869) with SHA-256
/// a secret for requests between hosts, a token for the hosts' own API, and a key for values of variables on their way
/// through workflows.
///
/// It never describes itself, so that it stays out of logs.
public struct ClusterSecret: Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    private let key: SymmetricKey

    /// Takes a text of at least 16 characters; white space around it does not count.
    ///
    /// - Throws: ``MartletError`` with code `bad_request`, without the text.
    public init(_ text: String) throws(MartletError) {
        let text = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard text.utf8.count >= 16 else {
            throw MartletError(
                .badRequest,
                "the cluster's secret is too short: it must have at least 16 characters, such as `openssl rand -hex 32` gives"
            )
        }
        key = SymmetricKey(data: Data(text.utf8))
    }

    /// What hosts send each other, as visible ASCII characters.
    public var peerSecret: String { text("martlet peers 1") }

    /// The token of the hosts' own API.
    public var apiToken: APIToken {
        get throws(MartletError) { try APIToken(validating: "martlet_" + text("martlet host API 1")) }
    }

    /// Seals the value of a variable: AES-GCM with 256 bits, bound to the app and the name that it belongs to.
    public func seal(
        _ value: String,
        app: ApplicationID,
        name: String,
        isSecret: Bool
    ) throws(MartletError) -> SealedVariable {
        do {
            let box = try AES.GCM.seal(
                Data(value.utf8),
                using: derived("martlet variables 1"),
                authenticating: Self.context(app, name)
            )
            guard let combined = box.combined else { throw CryptoKitError.incorrectParameterSize }
            return SealedVariable(name: name, isSecret: isSecret, sealed: combined.base64EncodedString())
        } catch {
            throw MartletError(.internal, "seal the variable \(name) of \(app)", cause: error)
        }
    }

    /// The value of a variable.
    ///
    /// - Throws: ``MartletError`` when it was sealed with another secret, or for another app or name.
    public func open(_ variable: SealedVariable, app: ApplicationID) throws(MartletError) -> String {
        do {
            guard let data = Data(base64Encoded: variable.sealed) else {
                throw CryptoKitError.incorrectParameterSize
            }
            let value = try AES.GCM.open(
                AES.GCM.SealedBox(combined: data),
                using: derived("martlet variables 1"),
                authenticating: Self.context(app, variable.name)
            )
            return String(decoding: value, as: UTF8.self)
        } catch {
            throw MartletError(
                .internal,
                "the variable \(variable.name) of \(app) cannot be opened with this cluster's secret; "
                    + "set it again with `martlet env set`",
                cause: error
            )
        }
    }

    public var description: String { "ClusterSecret(…)" }
    public var debugDescription: String { description }

    private func derived(_ purpose: String) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(inputKeyMaterial: key, info: Data(purpose.utf8), outputByteCount: 32)
    }

    private func text(_ purpose: String) -> String {
        derived(purpose).withUnsafeBytes { bytes in
            bytes.map { byte in
                let digits = String(byte, radix: 16)
                return digits.count == 1 ? "0" + digits : digits
            }.joined()
        }
    }

    private static func context(_ app: ApplicationID, _ name: String) -> Data {
        Data("\(app)\u{0}\(name)".utf8)
    }
}
