import ControlAPI
import Daemon
import ServiceLifecycle

/// The host and its API as one service, so that both are told of a shutdown at once: the API ends what it streams, and
/// the ingress closes its connections to the API.
struct HostWithAPI: Service {
    let host: HostDaemon
    let api: ControlAPI

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await host.run() }
            group.addTask { try await api.run() }
            try await group.waitForAll()
        }
    }
}
