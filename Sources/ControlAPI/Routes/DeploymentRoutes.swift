import Control
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// Taking a version into use.
///
/// Progress is streamed as JSON lines, with empty ones as signs of life; a client that accepts only `application/json` waits
/// for the result and gets its status.
struct DeploymentRoutes {
    let service: any ApplicationService
    let receiver: UploadReceiver
    let runner: DeploymentRunner
    let heartbeat: Duration

    private struct RollbackOrder: Codable {
        var version: VersionPrefix?
    }

    func add(to group: RouterGroup<APIContext>) {
        group.post("deployments") { request, context in try await self.deploy(request, context) }
        group.post("apps/:app/rollback") { request, context in try await self.rollback(request, context) }
    }

    private func deploy(_ request: Request, _ context: APIContext) async throws -> Response {
        let name = try request.uri.queryParameters["app"].map { try ApplicationID(validating: String($0)) }
        let owner = try context.requireUser()
        let reservation = try runner.reserve()
        let archive: URL
        do {
            archive = try await receiver.receive(request)
        } catch {
            reservation.release()
            throw error
        }
        let service = service
        let lines = reservation.start(
            { onEvent in
                try await service.deploy(Upload(name: name, archive: archive, owner: owner), onEvent: onEvent)
            },
            cleanUp: {
                // The name may be gone: the host is free to move the file to where it keeps artifacts.
                try? FileManager.default.removeItem(at: archive)
            }
        )
        return try await respond(with: lines, to: request)
    }

    private func rollback(_ request: Request, _ context: APIContext) async throws -> Response {
        let app = try context.app()
        let order = try await request.decode(RollbackOrder.self, upTo: 4096)
        let version = try await resolve(order.version, of: app)
        let reservation = try runner.reserve()
        let service = service
        let lines = reservation.start({ onEvent in
            try await service.rollback(app, to: version, onEvent: onEvent)
        }) {}
        return try await respond(with: lines, to: request)
    }

    private func resolve(_ prefix: VersionPrefix?, of app: ApplicationID) async throws -> VersionID? {
        guard let prefix else { return nil }
        return try prefix.resolve(in: try await service.versions(of: app).map(\.id))
    }

    private func respond(
        with lines: AsyncStream<DeploymentLine>,
        to request: Request
    ) async throws -> Response {
        guard request.headers[.accept] == "application/json" else {
            return .lines(every: heartbeat) { (continuation: AsyncStream<DeploymentLine?>.Continuation) in
                for await line in lines { continuation.yield(line) }
            }
        }
        for await line in lines {
            switch line {
            case .event: continue
            case .deployment(let deployment): return try .json(deployment, status: .created)
            case .error(let error): throw error
            }
        }
        throw MartletError(.internal, "the deployment ended without a result")
    }
}
