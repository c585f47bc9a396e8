import Control
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// Hosts, slices, and moving apps; only where there is a cluster.
struct ClusterRoutes {
    let cluster: any ClusterAdministration
    let heartbeat: Duration

    private struct MoveOrder: Codable {
        var to: HostID
    }

    func add(to group: RouterGroup<APIContext>) {
        let cluster = cluster
        group.get("hosts") { _, _ in try Response.json(try await cluster.hosts()) }
        group.get("slices") { _, _ in try Response.json(try await cluster.slices()) }
        group.post("hosts/:host/drain") { _, context in
            try await cluster.drain(try Self.host(context))
            return Response(status: .accepted)
        }
        group.delete("hosts/:host/drain") { _, context in
            try await cluster.undrain(try Self.host(context))
            return Response(status: .accepted)
        }
        group.get("apps/:app/operations") { _, context in
            try Response.json(try await cluster.operations(of: try context.app()))
        }
        group.post("apps/:app/move") { request, context in try await self.move(request, context) }
    }

    private static func host(_ context: APIContext) throws -> HostID {
        try HostID(validating: context.parameters.get("host") ?? "")
    }

    /// Streams the operation as JSON lines, each time it has changed.
    ///
    /// A client that accepts only `application/json` waits for the end; one that goes away does not stop the move.
    private func move(_ request: Request, _ context: APIContext) async throws -> Response {
        let app = try context.app()
        let order = try await request.decode(MoveOrder.self, upTo: 4096)
        let cluster = cluster
        if request.headers[.accept] == "application/json" {
            return try .json(try await cluster.move(app, to: order.to) { _ in })
        }
        return .lines(every: heartbeat) { (lines: AsyncStream<OperationLine?>.Continuation) in
            do {
                let record = try await cluster.move(app, to: order.to) { lines.yield(.operation($0)) }
                lines.yield(.operation(record))
            } catch let error as MartletError {
                lines.yield(.error(error))
            } catch {
                let message = "following the move of \(app) failed"
                lines.yield(.error(MartletError(.internal, message, cause: error)))
            }
        }
    }
}
