import CSandbox
package import Foundation

/// Where a host keeps what it must not forget.
///
/// ```
/// lock                        held by the daemon that uses the folder
/// host.key                    the key of secrets
/// state.db                    what apps there are, their versions and environments
/// artifacts/<sha256>.tar.gz   uploads as they came
/// versions/<sha256>/          unpacked, with their dependencies
/// versions/<sha256>.new/      unpacked, until they are checked
/// system/<app>/               data of apps of the host's own
/// routes.json                 the routes of the cluster, as they were last
/// apps/<app>/data/            the app's own files and databases
/// apps/<app>/placement.json   under which epoch the data is this host's
/// apps/<app>/cache/<sha256>/  compiled modules of large apps
/// apps/<app>/log/             what it wrote
/// runtime/                    compiled modules of the harness
/// replication/                what the replication program needs while it runs
/// store/                      the object store, unless it is elsewhere
/// staging/                    what is not complete yet; emptied at start
/// run/                        sockets of workers; emptied at start
/// ```
package struct StateFolder: Sendable {
    package let path: String
    /// The sockets' folder, which may be elsewhere because their paths have at most 107 bytes.
    package let run: String

    /// The longest part that a socket's path has behind the sockets' folder.
    private static let socketNameBytes = 1 + 8 + 1 + 6

    package init(path: String) {
        self.path = path
        let inside = path + "/run"
        let isShort = inside.utf8.count + Self.socketNameBytes <= 107
        run = isShort ? inside : "/tmp/martlet-\(getuid())-" + String(Self.hash(path), radix: 36)
    }

    package var database: String { path + "/state.db" }
    /// Data of the host's own apps.
    package var system: String { path + "/system" }
    /// The routes of the cluster that the host had last.
    package var routes: String { path + "/routes.json" }
    package var key: String { path + "/host.key" }
    package var staging: String { path + "/staging" }
    package var artifacts: String { path + "/artifacts" }
    package var versions: String { path + "/versions" }
    package func artifact(_ version: String) -> String { artifacts + "/\(version).tar.gz" }
    package func version(_ version: String) -> String { versions + "/" + version }
    /// A version that is being made.
    package func unfinished(_ version: String) -> String { versions + "/" + version + ".new" }
    package func app(_ app: String) -> String { path + "/apps/" + app }
    package func data(_ app: String) -> String { self.app(app) + "/data" }
    package func cache(_ app: String, _ version: String) -> String { self.app(app) + "/cache/" + version }
    package func placement(_ app: String) -> String { self.app(app) + "/placement.json" }
    /// Copies of databases that another host writes.
    package func incoming(_ app: String) -> String { self.app(app) + "/incoming" }
    /// Data that was found to be older than the replica, kept until the next time.
    package func superseded(_ app: String) -> String { self.app(app) + "/data.superseded" }
    /// The runtime's compiled modules of the harness.
    package var runtimeCaches: String { path + "/runtime" }
    package var replication: String { path + "/replication" }
    package var objectStore: String { path + "/store" }
    package func log(_ app: String) -> String { self.app(app) + "/log" }

    /// Takes the lock, which a child of a daemon that was just killed may hold for as long as it takes to start.
    private func takeLock() throws -> Int32 {
        let attempts = 40
        for _ in 1..<attempts {
            let lock = csandbox_lock_file(path + "/lock")
            if lock != -EWOULDBLOCK { return try SystemError.check(lock, "lock \(path)") }
            usleep(50_000)
        }
        return try SystemError.check(csandbox_lock_file(path + "/lock"), "lock \(path)")
    }

    /// Makes the folders and takes the lock, which lasts as long as the returned descriptor is open.
    ///
    /// - Throws: ``SystemError``; with `EWOULDBLOCK` when another daemon uses the folder.
    package func open() throws -> Int32 {
        try Self.make(path, mode: 0o711)
        let lock = try takeLock()
        do {
            // What was not complete when the last daemon ended is done again by whoever wanted it.
            try? FileManager.default.removeItem(atPath: staging)
            for folder in [staging, artifacts, versions, path + "/apps"] {
                try Self.make(folder, mode: 0o711)
            }
            try Self.make(run, mode: 0o700)
        } catch {
            csandbox_close(lock)
            throw error
        }
        return lock
    }

    /// A name in the staging folder that nothing has.
    package func stagingPath() -> String { staging + "/" + UUID().uuidString.lowercased() }

    /// Makes a folder where there is none.
    package static func make(_ path: String, mode: UInt32) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: NSNumber(value: mode)]
            )
        } catch {
            throw SystemError(errno == 0 ? EIO : errno, "make the folder \(path)")
        }
    }

    /// Writes a file so that after a crash there is either the old one or the new one, whole.
    package static func write(_ data: Data, to path: String, mode: UInt32) throws {
        let temporary = path + ".new"
        unlink(temporary)
        let fd = try SystemError.check(csandbox_open_append(temporary), "make \(temporary)")
        do {
            defer { csandbox_close(fd) }
            try data.withUnsafeBytes { bytes in
                var done = 0
                while done < bytes.count {
                    let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
                    done += Int(try SystemError.check(writeBytes(fd, rest), "write \(temporary)"))
                }
            }
            chmod(temporary, mode)
            try SystemError.check(csandbox_sync_file(fd), "sync \(temporary)")
        }
        try move(temporary, to: path)
    }

    /// Renames, and makes sure that it lasts.
    package static func move(_ path: String, to target: String) throws {
        guard rename(path, target) == 0 else { throw SystemError(errno, "rename \(path) to \(target)") }
        let folder = String(target[..<(target.lastIndex(of: "/") ?? target.startIndex)])
        try SystemError.check(csandbox_sync_folder(folder), "sync \(folder)")
    }

    package static func freeBytes(_ path: String) -> Int? {
        let bytes = csandbox_free_bytes(path)
        return bytes < 0 ? nil : Int(bytes)
    }

    /// FNV-1a: the same in every process, unlike Swift's own hash.
    static func hash(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
