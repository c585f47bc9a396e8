import Control
import ControlAPI
import Foundation

extension Up {
    /// `--hosts N`.
    func runCluster(_ observation: Observation) async throws {
        guard (2...16).contains(hosts) else {
            throw MartletError(.badRequest, "--hosts \(hosts): 1 to 16 hosts can run on one machine")
        }
        guard tlsPort == nil, tlsCertificates.isEmpty, tlsKeys.isEmpty else {
            throw MartletError(
                .badRequest,
                "--tls-… is for one host; run `martlet host` with its own certificate for a cluster with TLS"
            )
        }
        guard store == nil || s3 == nil else {
            throw MartletError(.badRequest, "--store and --s3 are the same; give one of them")
        }
        let environment = ProcessInfo.processInfo.environment
        guard let temporal = Programs.tool("temporal", given: temporal ?? environment["MARTLET_TEMPORAL"])
        else {
            throw MartletError(
                .unavailable,
                "temporal is not found, and a cluster needs it; run `make tools`, or name it with --temporal FILE"
            )
        }
        let maximumUpload = try OptionText.bytes(maximumUpload, "--max-upload")
        let folder = try stateFolder()
        let inside = folder.appending(path: "store").path(percentEncoded: false)
        var arguments = ["--sandbox", sandbox.description, "--sleep-after", sleepAfter, "--memory", memory]
        arguments += isolation.arguments
        if let litestream { arguments += ["--litestream", litestream] }
        if let deno { arguments += ["--deno", deno] }
        if let runtime { arguments += ["--runtime", runtime] }
        let cluster = UpCluster(
            folder: folder,
            hosts: hosts,
            port: port,
            listen: listen,
            domain: domain,
            store: store ?? s3 ?? inside,
            temporal: temporal,
            hostArguments: arguments,
            options: work,
            maximumUploadBytes: maximumUpload,
            deploy: deploy,
            logLevel: logLevel.rawValue,
            observation: observation
        )
        try await cluster.run()
    }
}
