import Foundation

/// Where the programs and folders are that a host needs.
enum Programs {
    /// The folder that the sources or a release were unpacked to: the one with `Runtime/harness.ts`, from the program
    /// upwards or where one stands.
    static let home: URL? = {
        let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        let starts = [
            program.deletingLastPathComponent(), URL(filePath: FileManager.default.currentDirectoryPath),
        ]
        for start in starts {
            var folder = start.standardizedFileURL
            for _ in 0..<6 {
                if FileManager.default.fileExists(atPath: folder.appending(path: "Runtime/harness.ts").path) {
                    return folder
                }
                folder = folder.deletingLastPathComponent()
            }
        }
        return nil
    }()

    /// A program by an explicit path, among the fetched tools, or on the path.
    ///
    /// Links are followed: the runtime knows itself by the file behind them, and its permissions name that.
    static func tool(_ name: String, given: String?) -> URL? {
        locate(name, given: given)?.resolvingSymlinksInPath()
    }

    private static func locate(_ name: String, given: String?) -> URL? {
        if let given { return URL(filePath: given) }
        if let fetched = home?.appending(path: ".tools/run/bin/\(name)"),
            FileManager.default.isExecutableFile(atPath: fetched.path)
        {
            return fetched
        }
        return find(name)
    }

    static func find(_ name: String) -> URL? {
        for folder in (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":") {
            let file = URL(filePath: String(folder)).appending(path: name)
            if FileManager.default.isExecutableFile(atPath: file.path) { return file }
        }
        return nil
    }
}
