import Foundation
import TestSupport

/// Runs a Python script that needs boto3, with the pinned Python or the system's; nil where neither has boto3.
package func runPython(_ script: String, environment: [String: String]) async throws -> [String]? {
    for python in [tool("python3", group: "test"), "/usr/bin/python3"] + pathCandidates("python3") {
        guard FileManager.default.isExecutableFile(atPath: python) else { continue }
        guard (try? await run(python, ["-c", "import boto3"])) != nil else { continue }  // Not this one.
        return try await run(python, ["-c", script], environment: environment)
    }
    return nil
}

private func pathCandidates(_ name: String) -> [String] {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(name)" }
}
