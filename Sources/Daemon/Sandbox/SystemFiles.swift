import Foundation

/// What of the host's own files is in a sandbox, at the same paths and read-only.
enum SystemFiles {
    /// The runtime's libraries, the certificates, the names of services and the time zones.
    static func needed(by program: String) -> [String] {
        libraries(of: program)
            + [
                "/etc/ssl/certs/ca-certificates.crt", "/etc/nsswitch.conf", "/usr/share/zoneinfo",
            ].filter { FileManager.default.fileExists(atPath: $0) }
    }

    /// The shared libraries that a program loads, by asking the dynamic linker.
    private static func libraries(of program: String) -> [String] {
        let linkers = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
        guard let linker = linkers.first(where: { FileManager.default.fileExists(atPath: $0) }) else {
            return []
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: linker)
        process.arguments = ["--list", program]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { return [] }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        var paths: [String] = []
        for line in text.split(separator: "\n") {
            for word in line.split(separator: " ") where word.hasPrefix("/") || word.hasPrefix("\t/") {
                paths.append(word.trimmingCharacters(in: .whitespaces))
            }
        }
        if !paths.contains(linker) { paths.append(linker) }
        // Names in /lib are links into /usr/lib on current systems, and so they are in the sandbox.
        return paths.map { $0.hasPrefix("/lib") ? "/usr" + $0 : $0 }.filter {
            FileManager.default.fileExists(atPath: $0)
        }
    }
}

extension WorkerLayout {
    /// Where a worker finds what it is given, in every sandbox that has a root of its own.
    static let sandboxed = WorkerLayout(
        deno: "/bin/deno",
        runtime: "/runtime",
        app: "/app",
        data: "/var/data",
        run: "/run/w",
        cache: "/cache",
        temporary: "/tmp"
    )
}

/// Runs blocking work on a queue, so that no thread of the concurrency runtime waits.
func onQueue<Value: Sendable>(
    _ queue: DispatchQueue,
    _ body: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        queue.async { continuation.resume(with: Result { try body() }) }
    }
}
