package import Foundation

/// The repository's folder, found from this file.
package let repositoryFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent()
    .deletingLastPathComponent().path

/// The repository's folder as an address.
package let repositoryURL = URL(fileURLWithPath: repositoryFolder)

/// A program of the pinned tools, which `MARTLET_TOOLS` may name another folder of.
package func tool(_ name: String, group: String = "run") -> String {
    let folder = ProcessInfo.processInfo.environment["MARTLET_TOOLS"] ?? repositoryFolder + "/.tools"
    return "\(folder)/\(group)/bin/\(name)"
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
