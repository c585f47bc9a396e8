import Control
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// An app's databases: what there is, back to a time, copies, and SQL.
struct DatabaseRoutes {
    let service: any DatabaseService

    private struct RestoreOrder: Codable { var at: Date }

    private struct ForkOrder: Codable {
        var name: ApplicationID
        var at: Date?
    }

    private static let bodyBytes = 256 << 10
    private static let pieceBytes = 1 << 18

    func add(to group: RouterGroup<APIContext>) {
        let service = service
        group.get("apps/:app/databases") { _, context in
            try Response.json(try await service.databases(of: try context.app()))
        }
        group.post("apps/:app/databases/restore") { request, context in
            let order = try await request.decode(RestoreOrder.self, upTo: Self.bodyBytes)
            return try Response.json(try await service.restoreDatabases(of: try context.app(), at: order.at))
        }
        group.post("apps/:app/databases/fork") { request, context in
            let order = try await request.decode(ForkOrder.self, upTo: Self.bodyBytes)
            let fork = try await service.fork(
                try context.app(),
                as: order.name,
                at: order.at,
                owner: try context.requireUser()
            )
            return try Response.json(fork, status: .created)
        }
        group.post("apps/:app/databases/query") { request, context in
            let query = try await request.decode(DatabaseQuery.self, upTo: Self.bodyBytes)
            return try Response.json(try await service.query(query, of: try context.app()))
        }
        group.get("apps/:app/databases/export") { request, context in
            let parameters = request.uri.queryParameters
            let time = try parameters["at"].map { try TimeText.parse(String($0), now: Date()) }
            let file = try await service.export(
                parameters["database"].map(String.init),
                of: try context.app(),
                at: time
            )
            return try Self.send(file)
        }
    }

    /// Streams a file and removes it.
    private static func send(_ file: URL) throws -> Response {
        let handle = try FileHandle(forReadingFrom: file)
        // It stays readable as long as it is open.
        try FileManager.default.removeItem(at: file)
        let bytes = try handle.seekToEnd()
        try handle.seek(toOffset: 0)
        let body = ResponseBody(contentLength: Int(bytes)) { writer in
            while let piece = try handle.read(upToCount: pieceBytes), !piece.isEmpty {
                try await writer.write(ByteBuffer(bytes: piece))
            }
            try handle.close()
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [.contentType: "application/vnd.sqlite3", .cacheControl: "no-store"],
            body: body
        )
    }
}
