import Foundation

/// Calls `body` with a new folder, which is removed afterwards.
package func withTemporaryFolder<Result>(
    in parent: String = NSTemporaryDirectory(),
    _ body: (String) async throws -> Result
) async throws -> Result {
    let path = "\(parent)/martlet-\(UUID().uuidString.prefix(8))".replacingOccurrences(of: "//", with: "/")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    // What is left is in the system's temporary folder.
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try await body(path)
}
