import CSandbox
import Control
import Dispatch
import Foundation

/// Keeps data folders within their limits.
///
/// No file system here can do that by itself for ordinary folders: the limit of a file's size is the kernel's, the limit of
/// all of them is kept by looking.
extension HostDaemon {
    func diskLoop() async {
        let queue = DispatchQueue(label: "disk", target: .global(qos: .utility))
        while !Task.isCancelled, !isStopping {
            do { try await Task.sleep(for: .milliseconds(250)) } catch { return }
            let due = watched.compactMap { entries[$0]?.awake }.flatMap { Array($0.instances.values) }
                .filter { $0.isDiskCheckDue(uptime()) }
            for instance in due {
                guard !isStopping, instance.gone.value == nil else { continue }
                // It throws nothing.
                try? await onQueue(queue) { instance.checkDisk() }
            }
        }
    }
}

extension DiskUsage {
    /// Looks at a folder, without following links; at most at about `maximumFiles` names.
    static func measure(_ path: String, maximumFiles: Int) -> DiskUsage? {
        var (bytes, files): (UInt64, UInt64) = (0, 0)
        guard csandbox_usage(path, UInt64(maximumFiles), &bytes, &files) == 0 else { return nil }
        return DiskUsage(bytes: Int(clamping: bytes), files: Int(clamping: files))
    }
}
