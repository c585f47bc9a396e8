import CSandbox

/// Puts an app's folders into the mount namespace of a worker that waits for them.
enum FolderGraft {
    /// Mounts the folders and takes the way to the control socket away.
    ///
    /// - Throws: ``SystemError``.
    static func perform(
        _ folders: WorkerFolders,
        _ layout: WorkerLayout,
        into boot: WorkerBoot,
        pid: Int32
    ) async throws {
        try await onQueue(boot.queue) {
            try folders.app.withCString { app in
                try folders.data.withCString { data in
                    try layout.app.withCString { appTarget in
                        try layout.data.withCString { dataTarget in
                            let mounts = [
                                csandbox_mount(
                                    source: app,
                                    target: appTarget,
                                    attributes: UInt32(CSANDBOX_READ_ONLY | CSANDBOX_NO_EXECUTE)
                                ),
                                csandbox_mount(
                                    source: data,
                                    target: dataTarget,
                                    attributes: UInt32(CSANDBOX_NO_SYMLINKS | CSANDBOX_NO_EXECUTE)
                                ),
                            ]
                            var failed: Int32 = -1
                            let result = csandbox_graft(pid, mounts, 2, layout.run, &failed)
                            let what = failed == 0 ? folders.app : failed == 1 ? folders.data : "folders"
                            try SystemError.check(result, "put \(what) into worker \(boot.id)")
                        }
                    }
                }
            }
        }
    }
}
