import Control
import Foundation

/// How the worker's program is called (Runtime/harness.ts).
package struct Harness: Sendable {
    /// Flags that do not depend on paths: the harness says which it needs (Runtime/flags.json).
    private let flags: [String]

    /// Reads the flags.
    ///
    /// - Throws: ``MartletError`` when the runtime's folder is not complete.
    package init(runtimeFolder: String) throws {
        let path = runtimeFolder + "/flags.json"
        guard let data = FileManager.default.contents(atPath: path),
            let flags = try? JSONDecoder().decode([String].self, from: data)  // Said below.
        else {
            throw MartletError(.unavailable, "the worker's harness is not complete: \(path) cannot be read")
        }
        self.flags = flags
    }

    /// Networks that no app may reach by number: private, link-local, shared and loopback addresses (RFC 6890).
    private static let deniedNetworks = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "[::1]", "[::]",
    ]

    package func arguments(_ layout: WorkerLayout, _ guardian: Guardian, v8HeapMegabytes: Int?) -> [String] {
        var flags = ["run"] + self.flags
        if let megabytes = v8HeapMegabytes { flags.append("--v8-flags=--max-old-space-size=\(megabytes)") }
        switch guardian {
        case .kernel:
            flags.removeAll { $0.hasPrefix("--allow-") }
            flags.append("--allow-all")
        case .runtime:
            flags.append("--allow-read=\(layout.app),\(layout.data),\(layout.run),\(layout.runtime)")
            flags.append("--allow-write=\(layout.data),\(layout.run)")
            flags.append("--deny-net=" + Self.deniedNetworks.joined(separator: ","))
        }
        flags.append(layout.runtime + "/harness.ts")
        flags += ["--serve", layout.run + "/" + Worker.socketName]
        flags += ["--control", layout.run + "/" + Worker.controlName]
        return flags
    }

    package func environment(_ layout: WorkerLayout) -> [String: String] {
        [
            "PATH": "/bin", "HOME": layout.temporary, "TMPDIR": layout.temporary, "DENO_DIR": layout.cache,
            "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1", "LANG": "C.UTF-8", "TZ": "UTC",
        ]
    }
}
