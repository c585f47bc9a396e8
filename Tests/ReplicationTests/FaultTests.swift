import Foundation
import Glibc
import Logging
import Replication
import Storage
import StorageTestSupport
import Supervision
import Synchronization
import TestSupport
import Testing

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Replication under faults` {
    @Test func `Litestream is killed while eight write: no acknowledged row is lost`() async throws {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            try openDatabase(database.path).execute(
                "CREATE TABLE rows (id INTEGER PRIMARY KEY, content BLOB)"
            )
            _ = try await fixture.replicator.watch(database)
            let gate = CommitGate(replicator: fixture.replicator)
            let writing = Writing()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<8 {
                    group.addTask {
                        var number = 0
                        while !writing.isDone {
                            number += 1
                            try insert("\(writer)-\(number)", database.path)
                            try await gate.confirm([database]) {}
                            writing.acknowledge("\(writer)-\(number)")
                        }
                    }
                }
                for _ in 0..<3 {
                    try await Task.sleep(for: .milliseconds(400))
                    let identifier = try #require(await fixture.replicator.processIdentifier)
                    #expect(kill(identifier, SIGKILL) == 0)
                    let starts = await fixture.replicator.startCount
                    let deadline = ContinuousClock.now + .seconds(60)
                    while await fixture.replicator.startCount == starts, ContinuousClock.now < deadline {
                        try await Task.sleep(for: .milliseconds(20))
                    }
                }
                writing.end()
                try await group.waitForAll()
            }
            #expect(await fixture.replicator.startCount >= 4)
            let copy = fixture.folder + "/copy.db"
            _ = try await fixture.replicator.restore(database.replica, to: copy, at: .newest) { _ in }
            let rows = Set(try SQLiteConnection(copy, .readWrite).column("SELECT content FROM rows"))
            let wanted = writing.acknowledged
            #expect(!wanted.isEmpty)
            #expect(
                wanted.subtracting(rows).isEmpty,
                "lost \(wanted.subtracting(rows).count) of \(wanted.count)"
            )
        }
    }

    @Test func `a store that can't be reached refuses, keeps the data, and recovers by itself`() async throws
    {
        let outage: Duration =
            ProcessInfo.processInfo.environment["MARTLET_SOAK"] == "1" ? .seconds(20) : .seconds(5)
        try await withTemporaryFolder { folder in
            try await SeaweedFS.with(folder: folder + "/weed") { server in
                let configuration = try server.configuration()
                let store = S3Store(configuration: configuration, logger: .init(label: "store"))
                try await ReplicationFixture.with(
                    folder: folder,
                    store: store,
                    address: .s3(configuration),
                    change: { $0.syncTimeout = .seconds(2) }
                ) { fixture in
                    let database = try fixture.database("main.db")
                    let connection = try openDatabase(database.path)
                    try connection.addRows(10)
                    _ = try await fixture.replicator.watch(database)
                    let gate = CommitGate(replicator: fixture.replicator)
                    try await gate.confirm([database]) {}
                    server.process.send(SIGSTOP)
                    let start = ContinuousClock.now
                    try connection.addRows(10)
                    let error = await #expect(throws: ReplicationError.self) {
                        try await gate.confirm([database]) {}
                    }
                    #expect(error?.code == .unavailable, "\(String(describing: error))")
                    #expect(error?.message.contains("can't be written now") == true)
                    try await Task.sleep(until: start + outage)
                    server.process.send(SIGCONT)
                    let deadline = ContinuousClock.now + .seconds(90)
                    while true {
                        do {
                            try await gate.confirm([database]) {}
                            break
                        } catch let error as ReplicationError where error.code == .unavailable {
                            try #require(ContinuousClock.now < deadline, "\(error)")
                        }
                    }
                    let copy = folder + "/copy.db"
                    _ = try await fixture.replicator.restore(database.replica, to: copy, at: .newest) { _ in }
                    #expect(try fingerprint(copy) == connection.fingerprint())
                }
                try await store.shutdown()
            }
        }
    }

    @Test(arguments: ["changed", "cut", "removed"])
    func `a replica with a damaged file is a loud error with the last good state, which can be restored`(
        damage: String
    ) async throws {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            let connection = try openDatabase(database.path)
            var states: [String] = []
            for _ in 0..<4 {
                try connection.addRows(20)
                _ =
                    states.isEmpty
                    ? try await fixture.replicator.watch(database)
                    : try await fixture.replicator.sync(database)
                states.append(try connection.fingerprint())
            }
            try await fixture.replicator.forget(database)
            let file =
                "\(fixture.folder)/the store ü/\(database.replica.prefix.path)/ltx/0/0000000000000003-0000000000000003.ltx"
            switch damage {
            case "removed": try FileManager.default.removeItem(atPath: file)
            case "cut": #expect(truncate(file, 300) == 0)
            default:
                var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
                bytes[bytes.count / 2] ^= 0x55
                try bytes.write(to: URL(fileURLWithPath: file))
            }
            let target = fixture.folder + "/target.db"
            try openDatabase(target).addRows(1)
            let before = try fingerprint(target)
            let error = await #expect(throws: ReplicationError.self) {
                try await fixture.replicator.restore(database.replica, to: target, at: .newest) { _ in }
            }
            #expect(error?.code == .damaged)
            #expect(error?.lastGood?.transaction == 2, "\(String(describing: error))")
            #expect(error?.message.contains("the last good state is transaction 2 of") == true)
            #expect(try fingerprint(target) == before, "what was there stays")
            let time = try #require(error?.lastGood?.time)
            let restored = try await fixture.replicator.restore(database.replica, to: target, at: .time(time))
            { _ in }
            #expect(restored.point.transaction == 2)
            #expect(try fingerprint(target) == states[1])
        }
    }

    @Test func `a full disk refuses, names the reason, and recovers when there is room`() async throws {
        guard getuid() == 0 else { return }
        try await ReplicationFixture.withFolder { fixture in
            let small = fixture.folder + "/small"
            try FileManager.default.createDirectory(atPath: small, withIntermediateDirectories: true)
            guard (try? await run("/bin/mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", small])) != nil
            else { return }
            do {
                try await fullDisk(fixture)
            } catch {
                _ = try? await run("/bin/umount", ["-l", small])
                throw error
            }
            _ = try await run("/bin/umount", ["-l", small])
        }
    }

    private func fullDisk(_ fixture: ReplicationFixture) async throws {
        let database = try fixture.database("main.db", host: "small")
        let large = try fixture.database("large.db")
        try openDatabase(large.path).addRows(8000, bytes: 1000)
        _ = try await fixture.replicator.watch(large)
        let connection = try openDatabase(database.path)
        try connection.addRows(100)
        _ = try await fixture.replicator.watch(database)
        let ballast = URL(fileURLWithPath: fixture.folder + "/small/ballast")
        try connection.addRows(300, bytes: 1000)
        for megabytes in [2.5, 2.0, 1.5, 1.0, 0.5]
        where (try? Data(count: Int(megabytes * 1e6)).write(to: ballast)) != nil {
            break
        }
        while (try? append(64 << 10, to: ballast)) != nil {}
        let error = await #expect(throws: ReplicationError.self) {
            try await fixture.replicator.sync(database)
        }
        #expect(error?.code == .full || error?.code == .unavailable, "\(String(describing: error))")
        let target = fixture.folder + "/small/restored.db"
        let restoreError = await #expect(throws: ReplicationError.self) {
            try await fixture.replicator.restore(large.replica, to: target, at: .newest) { _ in }
        }
        #expect(restoreError?.code == .full, "\(String(describing: restoreError))")
        #expect(!FileManager.default.fileExists(atPath: target))
        try FileManager.default.removeItem(at: ballast)
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            do {
                _ = try await fixture.replicator.sync(database)
                break
            } catch {
                try #require(ContinuousClock.now < deadline, "\(error)")
                try await Task.sleep(for: .milliseconds(100))
            }
        }
        let copy = fixture.folder + "/copy.db"
        _ = try await fixture.replicator.restore(database.replica, to: copy, at: .newest) { _ in }
        #expect(try fingerprint(copy) == connection.fingerprint())
    }

    private func append(_ count: Int, to file: URL) throws {
        let handle = try FileHandle(forWritingTo: file)
        defer { try? handle.close() }  // The write's error is the one that matters.
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(count: count))
    }

    @Test func `a warm copy of a database with very many new transactions begins after a compaction`()
        async throws
    {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            let target = try fixture.database("main.db", epoch: 2, host: "other")
            let connection = try openDatabase(database.path)
            _ = try await fixture.replicator.watch(database)
            var position = ReplicaPosition(transaction: 0)
            let count = 1_500
            for _ in 0..<count {
                try connection.addRows(1)
                position = try await fixture.replicator.sync(database)
            }
            let follower = try await fixture.replicator.follow(
                database.replica,
                to: target.path,
                as: target.replica
            )
            try await follower.wait(for: position, timeout: .seconds(60))
            let copied = try await fixture.store.listAll(prefix: target.replica.prefix.path + "/")
            #expect(copied.count < count, "\(copied.count) files for \(count) transactions")
            let before = try connection.fingerprint()
            position = try await fixture.replicator.release(database)
            try await follower.finish(at: position, timeout: .seconds(60))
            #expect(try fingerprint(target.path) == before)
        }
    }

    @Test func `a warm copy follows and is finished at the position where the owner stopped`() async throws {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            let target = try fixture.database("main.db", epoch: 2, host: "other")
            var position: ReplicaPosition
            var before: String
            let follower: any ReplicaFollower
            do {
                let connection = try openDatabase(database.path)
                try connection.addRows(500)
                _ = try await fixture.replicator.watch(database)
                follower = try await fixture.replicator.follow(
                    database.replica,
                    to: target.path,
                    as: target.replica
                )
                for _ in 0..<5 {
                    try connection.addRows(10)
                    position = try await fixture.replicator.sync(database)
                    try await follower.wait(for: position, timeout: .seconds(60))
                }
                try connection.addRows(3)
                before = try connection.fingerprint()
            }
            position = try await fixture.replicator.release(database)
            try await follower.finish(at: position, timeout: .seconds(60))
            let reached = position
            #expect(try fingerprint(target.path) == before)
            _ = try await fixture.replicator.resume(target, from: database.replica, at: reached)
            try openDatabase(target.path).addRows(2)
            _ = try await fixture.replicator.release(target)
            let copy = fixture.folder + "/copy.db"
            _ = try await fixture.replicator.restore(target.replica, to: copy, at: .newest) { _ in }
            #expect(try fingerprint(copy) == fingerprint(target.path))
            let abandoned = try await fixture.replicator.follow(
                target.replica,
                to: fixture.folder + "/abandoned.db",
                as: nil
            )
            await abandoned.cancel()
            #expect(!FileManager.default.fileExists(atPath: fixture.folder + "/abandoned.db"))
        }
    }
}

/// What several writers share.
private final class Writing: Sendable {
    private let state = Mutex<(acknowledged: Set<String>, isDone: Bool)>(([], false))

    var isDone: Bool { state.withLock { $0.isDone } }
    var acknowledged: Set<String> { state.withLock { $0.acknowledged } }

    func acknowledge(_ row: String) { state.withLock { _ = $0.acknowledged.insert(row) } }
    func end() { state.withLock { $0.isDone = true } }
}

private func insert(_ text: String, _ path: String) throws {
    let connection = try SQLiteConnection(path, .readWrite)
    try connection.execute("PRAGMA wal_autocheckpoint=0; INSERT INTO rows (content) VALUES ('\(text)')")
}
