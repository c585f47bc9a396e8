import CSandbox
import Foundation
import Logging

/// What a daemon that was killed has left: workers, their control groups and their sockets.
struct Leftovers {
    let runFolder: String
    let groups: any ControlGroups
    let logger: Logger

    /// Ends and removes all of it.
    ///
    /// The lock of the state folder makes sure that none of it is in use.
    func remove() {
        var count = 0
        for group in groups.existing() {
            count += 1
            if !group.destroy() {
                logger.warning(
                    "a control group of an earlier run could not be removed",
                    metadata: ["group": "\(group.name)", "processes": "\(group.processes())"]
                )
            }
        }
        groups.removeEmpty()
        // Nothing to remove then.
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: runFolder)) ?? []
        for entry in entries {
            let path = runFolder + "/" + entry
            if entry.hasSuffix(".pid"), let process = ProcessIdentity(text: ControlGroupDetection.text(path))
            {
                count += 1
                end(process)
            }
            // A leftover mount in it would be busy; there is none, because mounts live in the sandboxes' own namespaces.
            try? FileManager.default.removeItem(atPath: path)
        }
        if count > 0 {
            logger.notice("removed what an earlier run had left", metadata: ["workers": "\(count)"])
        }
    }

    private func end(_ process: ProcessIdentity) {
        guard process.isAlive else { return }
        let descriptor = csandbox_open_process(process.pid)
        guard descriptor >= 0 else { return }
        defer { csandbox_close(descriptor) }
        // Checked again: the id may have gone to another process before it was opened.
        guard process.isAlive else { return }
        _ = csandbox_signal(descriptor, SIGKILL)
        for _ in 0..<200 where process.isAlive { usleep(5000) }
    }
}
