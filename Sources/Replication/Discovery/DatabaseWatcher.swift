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
        let news = FolderNews()
        /// Tells of what scans have found, in their order.
        var telling: Task<Void, Never>?
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
    ///
    /// - Returns: what says at any moment whether something has appeared since the last scan.
    @discardableResult
    package func add(
        _ root: String,
        changed: @escaping @Sendable ([DatabaseChange]) async -> Void
    ) async -> FolderNewsReader {
        let entry = Root(changed: changed)
        roots[root] = entry
        _ = await scanNow(root)
        return FolderNewsReader(root: root, news: entry.news, notices: notices)
    }

    /// Stops to watch a folder.
    package func remove(_ root: String) {
        guard let entry = roots.removeValue(forKey: root) else { return }
        notices.unfollow(entry.news)
        for watch in entry.watches.values { release(watch, of: root) }
    }

    /// Scans a watched folder at once, tells of the changes and gives what is there.
    package func scanNow(_ root: String) async -> DatabaseScan {
        guard let news = roots[root]?.news else { return DatabaseScan() }
        var entered: [String] = []
        let begun = news.scanBegins()
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
        let isFollowed = notices.follow(entry.news, entry.watches, root: root)
        entry.known = scan.databases
        entry.plan.scanned(at: .now)
        // Also when this scan found nothing new: what the one before found may not be known yet to who asks.
        let (before, changed) = (entry.telling, entry.changed)
        let telling = Task {
            await before?.value
            if !changes.isEmpty { await changed(changes) }
        }
        entry.telling = telling
        roots[root] = entry
        for problem in scan.problems {
            logger.info(
                "a data folder has what is not replicated",
                metadata: ["folder": "\(root)", "problem": "\(problem)"]
            )
        }
        await telling.value
        // Only now do those who were told know all that the scan has found.
        // What happened in a folder before its news were followed may not have been noted: then one more scan is due.
        news.scanned(scan, begunAt: isFollowed ? begun : 0, isWatched: !entry.needsPolling)
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
final class Notices: @unchecked Sendable {
    // The source is set in init and cancelled in deinit; everything else is Sendable by itself.
    private struct State {
        var watches: Set<Int32> = []
        var isOverflown = false
        /// Who wants to know of a folder, and its path below the root.
        var followers: [Int32: [(news: FolderNews, path: String)]] = [:]
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
            defer {
                state.watches = []
                state.isOverflown = false
            }
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

    /// Tells `news` of what happens in folders from now on.
    ///
    /// Returns whether it was told before of each of them.
    func follow(_ news: FolderNews, _ watches: [String: Int32], root: String) -> Bool {
        state.withLock { state in
            var isFollowed = true
            for (folder, watch) in watches {
                if state.followers[watch]?.contains(where: { $0.news === news }) ?? false { continue }
                let path = folder == root ? "" : String(folder.dropFirst(root.count + 1)) + "/"
                state.followers[watch, default: []].append((news, path))
                isFollowed = false
            }
            return isFollowed
        }
    }

    func unfollow(_ news: FolderNews) {
        state.withLock { state in
            for watch in Array(state.followers.keys) {
                state.followers[watch]?.removeAll { $0.news === news }
                if state.followers[watch]?.isEmpty ?? false { state.followers[watch] = nil }
            }
        }
    }

    /// Takes what the kernel has to tell at this moment.
    ///
    /// The kernel queues a notice before the call that caused it returns, so what is not here now has not happened.
    func read() {
        // Read and noted under one lock: who comes second finds the news noted, not on its way.
        let isNews = state.withLock { state in
            withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 8) { buffer in
                let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                guard count > 0 else { return false }
                Self.note(
                    UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]),
                    in: &state
                )
                return true
            }
        }
        if isNews { ringer.yield() }
    }

    private static func note(_ bytes: UnsafeRawBufferPointer, in state: inout State) {
        let header = MemoryLayout<inotify_event>.size
        var offset = 0
        while offset + header <= bytes.count {
            let event = bytes.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
            let name = UnsafeRawBufferPointer(rebasing: bytes[(offset + header)...].prefix(Int(event.len)))
            offset += header + Int(event.len)
            if event.mask & UInt32(IN_Q_OVERFLOW) != 0 {
                state.isOverflown = true
                state.followers.values.forEach { $0.forEach { $0.news.overflow() } }
            }
            guard event.wd >= 0 else { continue }
            state.watches.insert(event.wd)
            for (news, path) in state.followers[event.wd] ?? [] {
                news.note(path + String(decoding: name.prefix { $0 != 0 }, as: UTF8.self), event.mask)
            }
        }
    }
}
