import Control
import Foundation
import Synchronization

/// The harness's own modules as the runtime keeps them once it has compiled them: made by workers without an app, and
/// then read by every worker, which can't change it.
///
/// With it a boot takes half of the CPU time: 44 ms instead of 93 ms (Deno 2.9.8, 2 shared cores).
package final class RuntimeCache: Sendable {
    private let path: String
    private let folder: StateFolder
    private let isThere: Mutex<Bool>

    /// Where in the cache compiled modules are, and among them the harness's own: it lies at `/runtime`.
    static let modules = "/gen"
    static let ownModules = modules + "/file/runtime"

    /// The first boot compiles, the second writes what the first has learned.
    private static let boots = 2

    /// - Parameters:
    ///   - folder: the host's.
    ///   - deno: the runtime's program.
    ///   - runtime: the folder with the harness.
    ///   - heapMegabytes: part of the runtime's flags, on which its compiled code depends.
    init(folder: StateFolder, deno: String, runtime: String, heapMegabytes: Int) {
        self.folder = folder
        let name = Self.fingerprint(deno: deno, runtime: runtime, heapMegabytes: heapMegabytes)
        path = folder.runtimeCaches + "/" + name
        isThere = Mutex(FileManager.default.fileExists(atPath: path))
    }

    /// The folder, once it is complete.
    package var usable: String? { isThere.withLock { $0 } ? path : nil }

    /// Makes it where it is not there.
    ///
    /// - Throws: ``SystemError`` or ``WorkerError``; workers then boot without.
    func fill(on site: WorkerSite, deadline: Duration, nextID: () async -> WorkerID) async throws {
        guard usable == nil else { return }
        let staging = folder.stagingPath()
        // The next start of the daemon would remove it too.
        defer { try? FileManager.default.removeItem(atPath: staging) }
        let folders = WorkerFolders(app: staging + "/app", data: staging + "/data", cache: staging + "/cache")
        for folder in [folders.app, folders.data, staging + "/cache"] {
            try StateFolder.make(folder, mode: 0o755)
        }
        for _ in 0..<Self.boots {
            let worker = try await Worker.boot(await nextID(), folders: folders, on: site, deadline: deadline)
            // By force: in an orderly end the runtime's databases lose the side files without which they can't be read
            // where nothing can be written.
            await worker.destroy()
            try Task.checkCancellation()
        }
        try StateFolder.make(folder.runtimeCaches, mode: 0o755)
        // Those of other versions of the runtime; only this daemon uses the folder.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.runtimeCaches)) ?? [] {
            try? FileManager.default.removeItem(atPath: folder.runtimeCaches + "/" + name)
        }
        try StateFolder.move(staging + "/cache", to: path)
        isThere.withLock { $0 = true }
    }

    /// Differs whenever the program, the harness or the flags do.
    private static func fingerprint(deno: String, runtime: String, heapMegabytes: Int) -> String {
        var text = "\(heapMegabytes) "
        let names = FileManager.default.enumerator(atPath: runtime)?.compactMap { $0 as? String } ?? []
        for file in [deno] + names.sorted().map({ runtime + "/" + $0 }) {
            guard let attributes = try? FileManager.default.attributesOfItem(atPath: file) else { continue }
            let time = (attributes[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
            text += "\(file) \((attributes[.size] as? NSNumber)?.intValue ?? 0) \(time) "
        }
        return String(StateFolder.hash(text), radix: 36)
    }
}
