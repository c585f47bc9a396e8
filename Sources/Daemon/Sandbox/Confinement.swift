import Dispatch
import Foundation

/// What `martlet-confine`, the last program before the runtime, takes away: files by Landlock, system calls by seccomp.
package struct Confinement: Sendable, Equatable {
    /// The program on the host; nil to run the runtime without it.
    package var program: String?
    package var hasFiles: Bool
    package var hasCalls: Bool

    package static let none = Confinement(program: nil, hasFiles: false, hasCalls: false)

    package init(program: String?, hasFiles: Bool, hasCalls: Bool) {
        self.program = program
        self.hasFiles = hasFiles
        self.hasCalls = hasCalls
    }

    /// Whether nothing is missing.
    package var isWhole: Bool { program != nil && hasFiles && hasCalls }

    /// What the kernel has of it.
    package struct Probe: Decodable, Sendable, Equatable {
        /// The version of Landlock (1 to 7 so far), 0 without.
        package var landlock: Int
        package var seccomp: Bool
    }

    /// The program, which is installed beside this one.
    package static func find() -> String? {
        var path = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        guard count > 0 else { return nil }
        let program = String(decoding: path[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
        let beside = (program as NSString).deletingLastPathComponent + "/martlet-confine"
        return FileManager.default.isExecutableFile(atPath: beside) ? beside : nil
    }

    /// Asks the program what can be done here.
    ///
    /// - Throws: ``SystemError``.
    package static func probe(_ program: String) throws -> Probe {
        let output = ToolOutput()
        let command = ChildProcess.Command(path: program, arguments: ["--probe"], environment: [:])
        let child = try ChildProcess.start(command, queue: DispatchQueue(label: "probe")) { output.take($1) }
        // A few milliseconds, once at start.
        for _ in 0..<5000 where child.end.value == nil { usleep(1000) }
        guard child.end.value == .exited(status: 0) else {
            child.signal(SIGKILL)
            throw SystemError(EIO, "run \(program) --probe: \(output.text)")
        }
        do { return try JSONDecoder().decode(Probe.self, from: Data(output.text.utf8)) } catch {
            throw SystemError(EPROTO, "read what \(program) --probe says: \(output.text)")
        }
    }

    private static let place = "/bin/confine"

    /// Where the program is in the sandbox; nil without one.
    var place: String? { program == nil ? nil : Self.place }

    /// How bubblewrap puts the program into the sandbox.
    var options: [String] { program.map { ["--ro-bind", $0, Self.place] } ?? [] }

    /// The beginning of the command line inside the sandbox.
    ///
    /// Landlock's rules hold for what is mounted below a folder, not on it: so the app's data is below `/var`.
    /// `writable`: what the installation of packages writes to; it makes links, which an app may not.
    func command(_ layout: WorkerLayout, writable: [String] = []) -> [String] {
        guard program != nil else { return [] }
        var words = [Self.place]
        if hasFiles {
            words += ["--read", "/", "--execute", "/bin", "--execute", "/usr/lib", "--execute", "/lib64"]
            let folders = [
                (layout.data as NSString).deletingLastPathComponent, layout.run, layout.cache,
                layout.temporary,
                "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
            ]
            for path in folders + writable { words += ["--write", path] }
        } else {
            words += ["--without", "files"]
        }
        if !writable.isEmpty { words += ["--with", "links"] }
        if !hasCalls { words += ["--without", "calls"] }
        return words + ["--"]
    }
}

/// What a worker reads about names in `/etc`.
package struct NameFiles: Sendable {
    package let resolver: String
    package let hosts: String

    /// Writes the files into a folder.
    ///
    /// Throws ``SystemError``.
    package init(folder: String, server: IPAddress) throws {
        resolver = folder + "/resolv.conf"
        hosts = folder + "/hosts"
        let options = "options timeout:2 attempts:2 edns0\n"
        try StateFolder.write(Data("nameserver \(server)\n\(options)".utf8), to: resolver, mode: 0o644)
        try StateFolder.write(Data("127.0.0.1 localhost\n::1 localhost\n".utf8), to: hosts, mode: 0o644)
    }
}
