import Foundation
import Glibc

/// A folder that is removed when the closure ends, however it ends.
func withTemporaryFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(
        path: "martlet-archive-\(UUID().uuidString)"
    )
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder)
}

extension URL {
    /// Writes files below this folder, making the folders between.
    func write(_ files: [String: String]) throws {
        for (path, text) in files {
            let file = appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try Data(text.utf8).write(to: file)
        }
    }

    /// The text files below this folder by path; links as `-> target`.
    func files() throws -> [String: String] {
        let root = path(percentEncoded: false)
        var files: [String: String] = [:]
        for path in try FileManager.default.subpathsOfDirectory(atPath: root) {
            let file = root + "/" + path
            let attributes = try FileManager.default.attributesOfItem(atPath: file)
            switch attributes[.type] as? FileAttributeType {
            case .typeRegular:
                files[path] = String(decoding: try Data(contentsOf: URL(filePath: file)), as: UTF8.self)
            case .typeSymbolicLink:
                files[path] = "-> " + (try FileManager.default.destinationOfSymbolicLink(atPath: file))
            default: break
            }
        }
        return files
    }
}

/// Runs a program to its end.
///
/// - Returns: What it wrote to standard output and its exit status.
@discardableResult
func run(
    _ program: String,
    _ arguments: [String],
    in folder: URL,
    input: String? = nil
) throws -> (output: String, status: Int32) {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.currentDirectoryURL = folder
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    let inputPipe = Pipe()
    process.standardInput = inputPipe
    try process.run()
    if let input { try inputPipe.fileHandleForWriting.write(contentsOf: Data(input.utf8)) }
    try inputPipe.fileHandleForWriting.close()
    let data = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (String(decoding: data, as: UTF8.self), process.terminationStatus)
}
