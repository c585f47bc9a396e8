public import Control
public import Foundation
import NIOHTTP1

extension APIClient {
    public func databases(of app: ApplicationID) async throws -> [DatabaseStatus] {
        try await value(.GET, "/v1/apps/\(app)/databases")
    }

    public func restoreDatabases(of app: ApplicationID, at time: Date) async throws -> DatabaseRestore {
        try await value(.POST, "/v1/apps/\(app)/databases/restore", ["at": JSONFormat.time(time)])
    }

    public func fork(
        _ app: ApplicationID,
        as name: ApplicationID,
        at time: Date?
    ) async throws -> DatabaseFork {
        var order = ["name": name.rawValue]
        order["at"] = time.map(JSONFormat.time)
        return try await value(.POST, "/v1/apps/\(app)/databases/fork", order)
    }

    public func query(_ query: DatabaseQuery, of app: ApplicationID) async throws -> DatabaseResult {
        try await value(.POST, "/v1/apps/\(app)/databases/query", query)
    }

    /// Writes a copy of a database to a file that does not exist yet.
    ///
    /// - Returns: its size in bytes.
    public func export(
        _ database: String?,
        of app: ApplicationID,
        at time: Date?,
        to file: URL
    ) async throws -> Int {
        var query: [String] = []
        let allowed = CharacterSet.alphanumerics
        if let name = database?.addingPercentEncoding(withAllowedCharacters: allowed) {
            query.append("database=\(name)")
        }
        if let time { query.append("at=\(JSONFormat.time(time))") }
        let path =
            "/v1/apps/\(app)/databases/export" + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
        return try await download(path, to: file)
    }
}
