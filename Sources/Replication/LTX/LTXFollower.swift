import FoundationEssentials
import Glibc
import NIOCore
import Storage

/// A warm copy of a database: restored once, and kept up to date by the files that its replica gets.
///
/// ```
///              the next transaction's file is asked for by its name
///   restored ─► following ◄──────────────────────────────┐
///                 │  │ it is not there, again and again  │
///                 │  └─► the replica is listed ──────────┘    (a compaction may have taken it)
///                 ├─► finished: what is missing is fetched at once
///                 └─► cancelled, or failed: a file can't be read, or the chain has a gap
/// ```
/// Each file also goes into the replica under which the database will go on, so that little is left to be copied then.
actor LTXFollower: ReplicaFollower {
    private let replica: ReplicaLocation
    private let next: ReplicaLocation?
    private let files: DatabaseFiles
    private let replicator: LitestreamReplicator
    private let store: any ObjectStore
    private let interval: Duration
    /// The folder of the replica that holds single transactions.
    private let singles: String
    private let file: OpenFile
    private var reached: UInt64
    private var failure: ReplicationError?
    private var loop: Task<Void, Never>?

    /// Files that are asked for at the same time.
    private static let width = 16
    /// Larger files are not for following: the database is restored again instead.
    private static let fileLimitBytes = 256 << 20
    /// Files of single transactions behind the last compacted one that are copied one by one without waiting for a compaction.
    private static let singlesLimit = 1000
    /// How long a compaction is waited for, which Litestream makes every 10 s.
    private static let compactionPatience = Duration.seconds(20)
    /// How often a file may be missing before the replica is listed.
    private static let patience = 40

    /// Restores the newest state and follows from there.
    init(
        _ replica: ReplicaLocation,
        to path: String,
        as next: ReplicaLocation?,
        of replicator: LitestreamReplicator
    ) async throws {
        files = DatabaseFiles(path: path)
        (self.replica, self.next, self.replicator) = (replica, next, replicator)
        (store, interval) = (replicator.store, replicator.settings.followInterval)
        try await Self.awaitCompaction(of: replica, replicator)
        let restored = try await replicator.restore(replica, to: path, at: .newest) { _ in }
        if let next { try await replicator.prepareResume(replica, as: next) }
        reached = restored.point.transaction
        let objects = try await replicator.objects(of: replica)
        singles = objects.first?.singlesFolder ?? "0000"
        file = try OpenFile(path, flags: O_RDWR)
        begin()
    }

    /// Waits until a compaction has made one file of many.
    ///
    /// What is fetched and copied one by one goes into the next replica as it is. Of an app that is written to and moves again
    /// and again before a compaction, each copy would be longer than the one before.
    private static func awaitCompaction(
        of replica: ReplicaLocation,
        _ replicator: LitestreamReplicator
    ) async throws {
        let deadline = ContinuousClock.now + compactionPatience
        while true {
            let plan = RestorePlan(try await replicator.objects(of: replica))
            let singles = plan.objects.reversed().prefix { $0.level == 0 }.count
            guard singles > singlesLimit, ContinuousClock.now < deadline else { return }
            try await Task.sleep(for: .seconds(1))
        }
    }

    deinit { loop?.cancel() }

    var position: ReplicaPosition? {
        get throws {
            if let failure { throw failure }
            return ReplicaPosition(transaction: reached)
        }
    }

    func wait(for position: ReplicaPosition, timeout: Duration) async throws {
        await stop()
        try await advance(to: position.transaction, before: .now + timeout)
        if let next { try await replicator.copyAhead(replica, as: next, upTo: reached) }
        begin()
    }

    func finish(at position: ReplicaPosition, timeout: Duration) async throws {
        await stop()
        try await advance(to: position.transaction, before: .now + timeout)
        guard reached == position.transaction else {
            throw ReplicationError(
                .superseded,
                "follow \(replica): the copy is at \(reached), not \(position.transaction)"
            )
        }
    }

    func cancel() async {
        await stop()
        let files = files
        // The next restore or follower to this path removes it.
        try? await blocking { try files.removeAll() }
    }

    // MARK: - Following

    private func begin() {
        // Lives as long as the follower, which ends it; it holds it only while there is something to do.
        loop = Task { [weak self, interval] in
            var misses = 0
            while !Task.isCancelled {
                guard let self else { return }
                let didAdvance = await self.step(misses)
                misses = didAdvance ? 0 : misses + 1
                if !didAdvance {
                    // Cancelled when the follower ends.
                    try? await Task.sleep(for: interval)
                }
            }
        }
    }

    private func stop() async {
        loop?.cancel()
        await loop?.value
        loop = nil
    }

    /// Takes the next transaction, if it is there.
    ///
    /// Returns whether it was.
    private func step(_ misses: Int) async -> Bool {
        guard failure == nil else { return false }
        do {
            let transaction = reached + 1
            guard let bytes = try await single(transaction) else {
                guard misses % Self.patience == Self.patience - 1 else { return false }
                return try await takeLonger(upTo: .max)
            }
            try await apply(bytes)
            if let next { try await replicator.copyAhead(replica, as: next, upTo: reached) }
            return true
        } catch let error as ReplicationError where error.code != .unavailable {
            failure = error
        } catch {
            // The store does not answer now, or the follower ends.
        }
        return false
    }

    /// Fetches what is missing up to a transaction at once.
    private func advance(to transaction: UInt64, before deadline: ContinuousClock.Instant) async throws {
        if let failure { throw failure }
        while reached < transaction {
            try Task.checkCancellation()
            let first = reached + 1
            let last = min(transaction, reached + UInt64(Self.width))
            var found: [UInt64: [UInt8]] = [:]
            try await withThrowingTaskGroup(of: (UInt64, [UInt8]?).self) { group in
                for number in first...last {
                    group.addTask { (number, try await self.single(number)) }
                }
                for try await (number, bytes) in group { found[number] = bytes }
            }
            for number in first...last {
                guard let bytes = found[number] else { break }
                try await apply(bytes)
            }
            if reached >= first { continue }
            if try await takeLonger(upTo: transaction) { continue }
            guard ContinuousClock.now < deadline else {
                throw ReplicationError(
                    .unavailable,
                    "follow \(replica): at \(reached), and transaction \(transaction) is not in the replica"
                )
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    private func single(_ transaction: UInt64) async throws -> [UInt8]? {
        let key = try replica.prefix.appending("\(singles)/\(LTXObject.name(of: transaction))")
        return try await content(of: key)
    }

    private func content(of key: ObjectKey) async throws -> [UInt8]? {
        do {
            guard let object = try await store.find(key) else { return nil }
            return Array(try await object.bytes(upTo: Self.fileLimitBytes).readableBytesView)
        } catch {
            throw replicator.storeError("read \(key)", error)
        }
    }

    /// Takes a file that holds the next transaction among others, as compactions leave it.
    private func takeLonger(upTo limit: UInt64) async throws -> Bool {
        let objects = try await replicator.objects(of: replica)
        let next = reached + 1
        let fitting = objects.filter {
            $0.minTransaction <= next && $0.maxTransaction >= next && $0.maxTransaction <= limit
        }
        // Of those that reach as far, the smallest: a snapshot has everything.
        guard
            let best = fitting.max(by: {
                ($0.maxTransaction, $1.sizeBytes) < ($1.maxTransaction, $0.sizeBytes)
            })
        else {
            guard objects.contains(where: { $0.minTransaction > next && $0.maxTransaction <= limit }) else {
                return false
            }
            throw ReplicationError(.damaged, "follow \(replica): transaction \(next) is missing")
        }
        // A compaction may have removed it since: then another one has it.
        guard let bytes = try await content(of: best.key) else { return false }
        try await apply(bytes)
        return true
    }

    /// Writes the pages of a file, whose state is that after its last transaction.
    private func apply(_ bytes: [UInt8]) async throws {
        guard let header = LTXHeader(bytes), header.minTransaction <= reached + 1 else {
            throw ReplicationError(.damaged, "follow \(replica): a file has no header that fits")
        }
        let file = file
        try await replicator.fileWork("follow \(replica)") {
            let size = Int64(header.pageSize)
            for (number, content) in try LTXFile.pages(bytes) {
                try file.write(content, at: Int64(number - 1) * size)
            }
            try file.resize(to: Int64(header.commit) * size)
        }
        reached = max(reached, header.maxTransaction)
    }
}

extension LitestreamReplicator {
    package func follow(
        _ replica: ReplicaLocation,
        to path: String,
        as next: ReplicaLocation?
    ) async throws -> any ReplicaFollower {
        do {
            return try await LTXFollower(replica, to: path, as: next, of: self)
        } catch let error as ReplicationError {
            throw error
        } catch {
            throw ReplicationError(.failed, "follow \(replica) to \(path)", cause: error)
        }
    }
}
