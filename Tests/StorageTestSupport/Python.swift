import Foundation
import TestSupport

/// Runs a Python script with boto3, by the pinned Python of the tests' tools.
package func runPython(_ script: String, environment: [String: String]) async throws -> [String] {
    try await run(tool("python3", group: "test"), ["-c", script], environment: environment)
}
