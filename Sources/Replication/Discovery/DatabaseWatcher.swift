import Dispatch
import Glibc
package import Logging
import Storage
import Synchronization

/// Tells of the databases that appear and go in watched folders, by the kernel's notices (inotify).
///
/// One watcher serves all awake apps of a host: the kernel gives a user few inotify instances, and each app takes one
/// watch for each of its folders. Where the kernel has no watches left, the folder is scanned every few seconds.
/// Folders that are not watched cost nothing; they are scanned once when their app goes to sleep.
package actor DatabaseWatcher {
    private struct Root {
        let changed: @Sendable ([DatabaseChange]) async -> Void
        var known: [FoundDatabase] = []
        var plan = RescanPlan<ContinuousClock.Instant>()
        var watches: [String: Int32] = [:]
        /// Some folders have no watch, so only looking tells.
        var needsPolling = false
    }

    private let scanner: DatabaseScanner
    private let logger: Logger
    private let notices: Notices
    private var roots: [String: Root] = [:]
    private var owners: [Int32: Set<String>] = [:]

    /// - Throws: `ReplicationError` when the kernel has no inotify instance left.
    package init(scanner: DatabaseScanner = DatabaseScanner(), logger: Logger) throws {
        self.scanner = scanner
        self.logger = logger
        notices = try Notices()
    }

    /// Watches a folder until `remove`; `changed` is first told of what is there already.
    package func add(_ root: String, changed: @escaping @Sendable ([DatabaseChange]) async -> Void) async {
        roots[root] = Root(changed: changed)
        _ = await scanNow(root)
    }

    /// Stops to watch a folder.
    package func remove(_ root: String) {
        guard let entry = roots.removeValue(forKey: root) else { return }
        for watch in entry.watches.values { release(watch, of: root) }
    }

    /// Scans a watched folder at once, tells of the changes and gives what is there.
    package func scanNow(_ root: String) async -> DatabaseScan {
        guard roots[root] != nil else { return DatabaseScan() }
        var entered: [String] = []
        let scan = scanner.scan(root) { folder in
            // The watch comes before the list, so that nothing falls between.
            entered.append(folder)
            watch(folder, of: root)
        }
        guard var entry = roots[root] else { return scan }
        for (folder, watch) in entry.watches where !entered.contains(folder) {
            entry.watches[folder] = nil
            release(watch, of: root)
        }
        let changes = DatabaseChange.between(entry.known, scan.databases)
        entry.known = scan.databases
        entry.plan.scanned(at: .now)
        roots[root] = entry
        for problem in scan.problems {
            logger.info(
                "a data folder has what is not replicated",
                metadata: ["folder": "\(root)", "problem": "\(problem)"]
            )
        }
        if !changes.isEmpty { await entry.changed(changes) }
        return scan
    }

    /// Follows the kernel's notices until the task is cancelled.
    ///
    /// Costs nothing while nothing changes.
    package func run() async throws {
        for await _ in notices.bell {
            repeat {
                take(notices.take())
                let now = ContinuousClock.now
                for (root, entry) in roots where entry.plan.due.map({ $0 <= now }) ?? false {
                    _ = await scanNow(root)
                }
                if isSettled { break }
                try await Task.sleep(for: .milliseconds(20))
            } while true
        }
        try Task.checkCancellation()
    }

    private var isSettled: Bool { roots.values.allSatisfy { $0.plan.due == nil } }

    private func take(_ taken: (watches: Set<Int32>, isOverflown: Bool)) {
        let now = ContinuousClock.now
        let changed = taken.isOverflown ? Set(roots.keys) : Set(taken.watches.flatMap { owners[$0] ?? [] })
        for root in changed { roots[root]?.plan.changed(at: now) }
        for (root, entry) in roots where entry.needsPolling && entry.plan.due == nil {
            roots[root]?.plan.changed(at: now.advanced(by: .seconds(2)))
        }
    }

    private func watch(_ folder: String, of root: String) {
        guard let watch = notices.watch(folder) else {
            if errno == ENOSPC, roots[root]?.needsPolling == false {
                roots[root]?.needsPolling = true
                notices.ring()
                logger.warning(
                    "no inotify watches are left; raise fs.inotify.max_user_watches",
                    metadata: ["folder": "\(folder)"]
                )
            }
            return
        }
        roots[root]?.watches[folder] = watch
        owners[watch, default: []].insert(root)
    }

    private func release(_ watch: Int32, of root: String) {
        owners[watch]?.remove(root)
        guard owners[watch]?.isEmpty ?? true else { return }
        owners[watch] = nil
        notices.remove(watch)
    }
}

/// The kernel's notices: which watches saw something since they were last taken.
private final class Notices: @unchecked Sendable {
    // The source is set in init and cancelled in deinit; everything else is Sendable by itself.
    private struct State {
        var watches: Set<Int32> = []
        var isOverflown = false
    }

    private let descriptor: Int32
    private let state = Mutex(State())
    private let source: any DispatchSourceRead
    /// Rings once for any number of notices.
    let bell: AsyncStream<Void>
    private let ringer: AsyncStream<Void>.Continuation

    init() throws {
        descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
        guard descriptor >= 0 else {
            throw ReplicationError(
                .failed,
                "watch folders: the kernel gives no inotify instance (\(String(cString: strerror(errno)))); "
                    + "raise fs.inotify.max_user_instances"
            )
        }
        (bell, ringer) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        let queue = DispatchQueue(label: "martlet.inotify")
        source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
        let descriptor = descriptor
        source.setEventHandler { [weak self] in self?.read() }
        source.setCancelHandler { close(descriptor) }
        source.resume()
    }

    deinit {
        source.cancel()
        ringer.finish()
    }

    func ring() { ringer.yield() }

    func take() -> (watches: Set<Int32>, isOverflown: Bool) {
        state.withLock { state in
            defer { state = State() }
            return (state.watches, state.isOverflown)
        }
    }

    /// What tells that a database may have appeared or gone.
    ///
    /// Writes into open files are not among them: there are too many, and a database's first write makes a journal or
    /// a log beside it.
    func watch(_ folder: String) -> Int32? {
        let events = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE
        let flags = UInt32(IN_ONLYDIR) | UInt32(IN_DONT_FOLLOW) | UInt32(IN_EXCL_UNLINK)
        let watch = inotify_add_watch(descriptor, folder, UInt32(events) | flags)
        return watch >= 0 ? watch : nil
    }

    func remove(_ watch: Int32) { inotify_rm_watch(descriptor, watch) }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return }
        let header = MemoryLayout<inotify_event>.size
        buffer.withUnsafeBytes { bytes in
            var offset = 0
            while offset + header <= count {
                let event = bytes.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
                state.withLock { state in
                    if event.mask & UInt32(IN_Q_OVERFLOW) != 0 { state.isOverflown = true }
                    if event.wd >= 0 { state.watches.insert(event.wd) }
                }
                offset += header + Int(event.len)
            }
        }
        ringer.yield()
    }
}
