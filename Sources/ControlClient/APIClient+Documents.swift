public import Control
import Foundation
import NIOHTTP1

extension APIClient {
    /// The OpenAPI description that an app made with the framework serves.
    ///
    /// It is asked for at the API's own address, under the app's host name: one port serves both.
    ///
    /// - Throws: ``MartletError`` with code `not_found` where the app has none.
    public func description(of app: ApplicationID) async throws -> [UInt8] {
        let status = try await application(app)
        guard let url = URLComponents(string: status.url), let host = url.host else {
            throw MartletError(.internal, "the address of \(app), \(status.url), cannot be understood")
        }
        let name = host + (url.port.map { ":\($0)" } ?? "")
        let headers: HTTPHeaders = ["host": name, "user-agent": "martlet", "connection": "close"]
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/openapi.json", headers: headers)
        return try await HTTPConnection(endpoint: endpoint).send(head, body: .empty) { head, reader in
            let body = try await reader.all(upTo: 16 << 20)
            guard head.status == .ok, body.first == UInt8(ascii: "{") else {
                throw MartletError(
                    .notFound,
                    "\(app) answers /openapi.json with \(head.status.code): only apps that are made with serve() of the "
                        + "framework, without `docs: false`, describe themselves"
                )
            }
            return body
        }
    }
}
