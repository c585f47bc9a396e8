import ClusterContract
import Control
import Foundation

extension HostDaemon {
    /// Makes an app's variables those of an order, whose values are sealed with the cluster's secret.
    ///
    /// On this host's disk secrets are sealed with the host's own key.
    func setEnvironment(of app: ApplicationID, _ variables: [SealedVariable]) async throws {
        guard let secret = configuration.cluster?.secret else { throw Self.notInCluster() }
        // Sealing gives other bytes each time, so that what is here already is compared in the clear.
        let known = Dictionary(try await store.environment(of: app).map { ($0.name, $0) }) { first, _ in first
        }
        let stored = try variables.map { variable in
            let value = try secret.open(variable, app: app)
            if let old = known[variable.name], old.isSecret == variable.isSecret,
                try clear(old, of: app) == value
            {
                return old
            }
            return StateStore.Variable(
                name: variable.name,
                value: variable.isSecret
                    ? try secrets.seal(value, app: app.rawValue, name: variable.name) : Data(value.utf8),
                isSecret: variable.isSecret
            )
        }
        try await store.replaceEnvironment(stored, of: app)
    }

    /// The value of a variable as the app sees it.
    func clear(_ variable: StateStore.Variable, of app: ApplicationID) throws -> String {
        variable.isSecret
            ? try secrets.open(variable.value, app: app.rawValue, name: variable.name)
            : String(decoding: variable.value, as: UTF8.self)
    }
}
