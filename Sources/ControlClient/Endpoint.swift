public import Control
import Foundation

/// Where an API is: `http://127.0.0.1:8080` or `https://martlet.example.com`.
public struct Endpoint: Sendable, Equatable, CustomStringConvertible {
    public let isSecure: Bool
    public let host: String
    public let port: Int

    /// Reads a URL without a path.
    ///
    /// - Throws: ``MartletError`` with code `bad_request` that shows what is expected.
    public init(validating text: String) throws(MartletError) {
        let expected = "write it as http://127.0.0.1:8080 or https://martlet.example.com"
        guard let parts = URLComponents(string: text), let scheme = parts.scheme, let host = parts.host,
            !host.isEmpty,
            parts.path.isEmpty || parts.path == "/", parts.query == nil, parts.user == nil,
            parts.fragment == nil
        else {
            throw MartletError(.badRequest, "\"\(text.prefix(200))\" is no address of an API; \(expected)")
        }
        guard scheme == "http" || scheme == "https" else {
            throw MartletError(.badRequest, "\(scheme) is no scheme of an API's address; \(expected)")
        }
        isSecure = scheme == "https"
        self.host = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        port = parts.port ?? (isSecure ? 443 : 80)
    }

    public var description: String {
        let shown = host.contains(":") ? "[\(host)]" : host
        let isUsual = port == (isSecure ? 443 : 80)
        return "\(isSecure ? "https" : "http")://\(shown)" + (isUsual ? "" : ":\(port)")
    }

    /// Whether the token stays on this machine or is encrypted on its way.
    public var protectsToken: Bool {
        isSecure || host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }
}
