import Control
import Hummingbird

/// What there is, and taking it away.
struct ApplicationRoutes {
    let service: any ApplicationService

    func add(to group: RouterGroup<APIContext>) {
        let service = service
        group.get("apps") { _, context in
            let user = try context.requireUser()
            let apps = try await service.applications()
            return try Response.json(user == .local ? apps : apps.filter { $0.owner == user })
        }
        group.get("apps/:app") { _, context in
            try Response.json(try await service.application(try context.app()))
        }
        group.delete("apps/:app") { _, context in
            try await service.delete(try context.app())
            return Response(status: .noContent)
        }
        group.get("apps/:app/versions") { _, context in
            try Response.json(try await service.versions(of: try context.app()))
        }
    }
}
