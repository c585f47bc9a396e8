import Foundation
import Glibc
import TestSupport

/// A user of the machine without any rights, which root may take without its being in a list of users.
struct Account: Sendable {
    let identifier: UInt32

    /// Gives the user a folder and copies of the programs in it, because the tests' own may be out of its reach.
    ///
    /// - Returns: the command as the user is to run it, with what it needs named.
    func command(_ command: [String], in folder: URL) throws -> [String] {
        let bin = folder.appending(path: "bin")
        if !FileManager.default.fileExists(atPath: bin.path) {
            try FileManager.default.createDirectory(at: bin, withIntermediateDirectories: true)
            for program in ["martlet", "martlet-confine"].map(product)
                + ["deno", "litestream"].map({ tool($0) })
            {
                let name = URL(filePath: program).lastPathComponent
                try FileManager.default.copyItem(
                    at: URL(filePath: program).resolvingSymlinksInPath(),
                    to: bin.appending(path: name)
                )
            }
            for part in ["Runtime", "examples"] {
                try FileManager.default.copyItem(
                    at: repositoryURL.appending(path: part),
                    to: folder.appending(path: part)
                )
            }
            guard chown(folder.path, identifier, identifier) == 0 else {
                throw Failure("give \(folder.path) to user \(identifier): errno \(errno)")
            }
        }
        return launcher + [bin.appending(path: "martlet").path] + command.dropFirst() + [
            "--deno", bin.appending(path: "deno").path, "--litestream",
            bin.appending(path: "litestream").path,
            "--runtime", folder.appending(path: "Runtime").path,
        ]
    }

    private var launcher: [String] {
        ["/usr/bin/setpriv", "--reuid=\(identifier)", "--regid=\(identifier)", "--clear-groups", "--"]
    }

    /// Whether this machine lets the user do something.
    func may(_ command: String...) -> Bool {
        let process = Process()
        process.executableURL = URL(filePath: launcher[0])
        process.arguments = launcher.dropFirst() + command
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
