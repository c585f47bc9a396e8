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

/// Keeps apps from slowing each other down by what they use.
extension HostDaemon {
    func loadLoop() async {
        let queue = DispatchQueue(label: "load", target: .global(qos: .userInitiated))
        var pause = LoadPlan.usual
        while !Task.isCancelled, !isStopping {
            do { try await Task.sleep(for: pause) } catch { return }
            let now = uptime()
            var due: [(ApplicationID, Instance)] = []
            var next = now + LoadPlan.usual
            for app in watched {
                guard let awake = entries[app]?.awake else { continue }
                for instance in awake.instances.values where instance.worker.end.value == nil {
                    if instance.loadDue <= now { due.append((app, instance)) }
                    next = min(next, max(instance.loadDue, now))
                }
            }
            if !due.isEmpty {
                let looked = due
                // It throws nothing.
                let notes = try? await onQueue(queue) { looked.map { ($0.0, $0.1, $0.1.checkLoad()) } }
                for case (let app, let instance, let note?) in notes ?? [] {
                    logs.log(of: app).note(note, version: instance.version, level: .warn)
                }
                next = looked.map(\.1.loadDue).min().map { min($0, uptime() + LoadPlan.usual) } ?? next
            }
            pause = max(next - uptime(), LoadPlan.near)
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
