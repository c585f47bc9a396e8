import Control
import Hummingbird

/// Variables and secrets of an app.
struct EnvironmentRoutes {
    let service: any ApplicationService

    private static let maximumBodyBytes = 4 << 20
    private static let maximumVariables = 256

    func add(to group: RouterGroup<APIContext>) {
        let service = service
        group.get("apps/:app/env") { _, context in
            try Response.json(try await service.environment(of: try context.app()).map(\.withoutSecret))
        }
        group.patch("apps/:app/env") { request, context in
            let app = try context.app()
            let variables = try await request.decode([EnvironmentVariable].self, upTo: Self.maximumBodyBytes)
            guard variables.count <= Self.maximumVariables else {
                throw MartletError(
                    .tooLarge,
                    "at most \(Self.maximumVariables) variables can be set at a time"
                )
            }
            for variable in variables {
                try variable.validate()
                guard variable.value != nil else {
                    throw MartletError(.badRequest, "\(variable.name) has no value")
                }
            }
            try await service.setEnvironment(variables, of: app)
            return Response(status: .noContent)
        }
        group.delete("apps/:app/env/:name") { _, context in
            let name = context.parameters.get("name") ?? ""
            try EnvironmentVariable.validate(name: name)
            try await service.unsetEnvironment([name], of: try context.app())
            return Response(status: .noContent)
        }
    }
}

extension EnvironmentVariable {
    /// The variable as a listing shows it, whatever the service has returned.
    fileprivate var withoutSecret: Self { isSecret ? Self(name: name, value: nil, isSecret: true) : self }
}
