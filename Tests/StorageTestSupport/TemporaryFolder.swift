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

/// The repository's folder, found from this file.
package let repositoryFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent()
    .deletingLastPathComponent().path

/// A program of the pinned tools.
package func tool(_ name: String, group: String = "run") -> String {
    "\(repositoryFolder)/.tools/\(group)/bin/\(name)"
}

/// A program that this package builds, next to the tests.
package func product(_ name: String) -> String {
    let link =
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        ?? CommandLine.arguments[0]
    let test = CommandLine.arguments.first { $0.contains(".xctest") } ?? link
    var folder = URL(fileURLWithPath: test)
    for _ in 0..<6 {
        folder = folder.deletingLastPathComponent()
        let candidate = folder.appendingPathComponent(name).path
        if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
    }
    return name
}
