import Foundation
import Glibc
import Logging
@testable import Replication
import StorageTestSupport
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(3))) struct `Finding databases` {
    @Test func `databases are found by their header, whatever their name, and nothing else is`() async throws
    {
        try await withTemporaryFolder { folder in
            let names = ["main.db", "no-extension", "sub/dir/with space.sqlite3", "ünï/日本.db"]
            for name in names {
                let path = "\(folder)/data/\(name)"
                try FileManager.default.createDirectory(
                    atPath: DatabaseFiles(path: path).folder,
                    withIntermediateDirectories: true
                )
                try openDatabase(path).addRows(1)
            }
            try "SQLite format 4".write(toFile: folder + "/data/not.db", atomically: false, encoding: .utf8)
            try Data().write(to: URL(fileURLWithPath: folder + "/data/empty.db"))
            try openDatabase(folder + "/outside.db").addRows(1)
            for (link, target) in [("data/link.db", "outside.db"), ("data/self", "data"), ("data/up", "")] {
                try FileManager.default.createSymbolicLink(
                    atPath: "\(folder)/\(link)",
                    withDestinationPath: "\(folder)/\(target)"
                )
            }
            #expect(mkfifo(folder + "/data/pipe.db", 0o600) == 0)
            try FileManager.default.createDirectory(
                atPath: folder + "/data/.main.db-litestream",
                withIntermediateDirectories: true
            )
            try FileManager.default.copyItem(
                atPath: folder + "/outside.db",
                toPath: folder + "/data/.main.db-litestream/x"
            )
            try FileManager.default.copyItem(
                atPath: folder + "/outside.db",
                toPath: folder + "/data/.main.db.restoring"
            )
            try FileManager.default.linkItem(
                atPath: folder + "/data/main.db",
                toPath: folder + "/data/zz-hard.db"
            )
            let scan = DatabaseScanner().scan(folder + "/data")
            #expect(
                Set(scan.databases.map(\.name)).subtracting(["zz-hard.db"]).union(["main.db"]) == Set(names)
            )
            #expect(scan.databases.count == names.count)
            #expect(
                scan.problems.count == 1 && scan.problems[0].contains("the same file as"),
                "\(scan.problems)"
            )
            #expect(DatabaseScanner().scan(folder + "/none").databases.isEmpty)
        }
    }

    @Test func `a scan has limits and says when it reached them`() async throws {
        try await withTemporaryFolder { folder in
            for number in 0..<20 { try openDatabase("\(folder)/\(number).db").addRows(1) }
            var scanner = DatabaseScanner()
            scanner.databaseLimit = 5
            #expect(scanner.scan(folder).databases.count == 5)
            #expect(scanner.scan(folder).problems.count == 15)
            scanner.entryLimit = 10
            #expect(scanner.scan(folder).problems.contains { $0.contains("more than 10 files") })
            let deep = folder + "/a/b/c/d"
            try FileManager.default.createDirectory(atPath: deep, withIntermediateDirectories: true)
            scanner = DatabaseScanner()
            scanner.depthLimit = 2
            #expect(scanner.scan(folder).problems.contains { $0.contains("deeper than 2") })
        }
    }

    @Test func `a database with any page size has a header, and a wrong one has not`() {
        var bytes = Array("SQLite format 3\0".utf8) + [UInt8](repeating: 0, count: 84)
        for (high, low, size) in [(2, 0, 512), (16, 0, 4096), (0, 1, 65_536)] as [(UInt8, UInt8, Int)] {
            (bytes[16], bytes[17]) = (high, low)
            #expect(DatabaseHeader(bytes)?.pageSize == size)
        }
        for (high, low) in [(0, 0), (1, 0), (3, 0), (255, 255)] as [(UInt8, UInt8)] {
            (bytes[16], bytes[17]) = (high, low)
            #expect(DatabaseHeader(bytes) == nil)
        }
        #expect(DatabaseHeader(Array(bytes.prefix(99))) == nil)
    }

    @Test func `a replaced database is gone and found`() {
        let (a1, a2) = (FoundDatabase(name: "a", inode: 1), FoundDatabase(name: "a", inode: 2))
        let b = FoundDatabase(name: "b", inode: 3)
        #expect(DatabaseChange.between([a1, b], [a2, b]) == [.gone(a1), .found(a2)])
        #expect(DatabaseChange.between([a1], [a1]).isEmpty)
    }

    @Test func `a folder that changes is scanned soon, again when quiet, and not too often`() {
        var plan = RescanPlan<ManualClock.Instant>()
        func moment(_ milliseconds: Int) -> ManualClock.Instant { .init(offset: .milliseconds(milliseconds)) }
        #expect(plan.due == nil)
        plan.changed(at: moment(0))
        #expect(plan.due == moment(20))
        plan.scanned(at: moment(20))
        #expect(plan.due == moment(1000))
        for time in stride(from: 30, to: 300, by: 10) { plan.changed(at: moment(time)) }
        #expect(plan.due == moment(320), "at most every 300 ms")
        plan.scanned(at: moment(320))
        #expect(plan.due == moment(1290))
        plan.scanned(at: moment(1290))
        #expect(plan.due == nil)
    }

    @Test func `news of a database are there as soon as it is, however often the watcher has taken them`()
        async throws
    {
        try await withTemporaryFolder { folder in
            let root = folder + "/data"
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
            let watcher = try DatabaseWatcher(logger: Logger(label: "test"))
            let running = Task { try await watcher.run() }
            defer { running.cancel() }
            let news = await watcher.add(root) { _ in }
            for number in 1...40 {
                try openDatabase("\(root)/\(number).db").addRows(1)
                #expect(news.needsScan(), "\(number)")
                // What happens while a scan runs makes another one due.
                for _ in 1...5 where news.needsScan() { _ = await watcher.scanNow(root) }
                #expect(!news.needsScan(), "\(number)")
                // The watcher takes what the kernel had to tell.
                if number.isMultiple(of: 4) { try await Task.sleep(for: .milliseconds(40)) }
            }
            await watcher.remove(root)
        }
    }

    @Test func `an app with many short files can hide no database among them`() async throws {
        try await withTemporaryFolder { folder in
            let root = folder + "/data"
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
            try openDatabase(folder + "/content.db", journal: "delete").addRows(1)
            let content = try Data(contentsOf: URL(fileURLWithPath: folder + "/content.db"))
            for number in 0..<(DatabaseScan.undecidedLimit + 50) {
                try Data("short".utf8).write(to: URL(fileURLWithPath: "\(root)/\(number)"))
            }
            // All are open before, so that no file is opened, closed, made or removed when one becomes a database.
            let files = try (0..<(DatabaseScan.undecidedLimit + 50)).map {
                try FileHandle(forWritingTo: URL(fileURLWithPath: "\(root)/\($0)"))
            }
            defer { files.forEach { try? $0.close() } }
            let watcher = try DatabaseWatcher(logger: Logger(label: "test"))
            let news = await watcher.add(root) { _ in }
            let scan = await watcher.scanNow(root)
            #expect(scan.hasMoreUndecided && scan.undecided.count == DatabaseScan.undecidedLimit)
            let hidden = try #require((0..<files.count).first { !scan.undecided.contains("\($0)") })
            try files[hidden].write(contentsOf: content)
            #expect(news.needsScan())
            #expect(await watcher.scanNow(root).databases.map(\.name) == ["\(hidden)"])
            await watcher.remove(root)
        }
    }

    @Test func `more databases than a folder may have are told of`() async throws {
        try await withTemporaryFolder { folder in
            let root = folder + "/data"
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
            for number in 1...3 { try openDatabase("\(root)/\(number).db", journal: "delete").addRows(1) }
            var scanner = DatabaseScanner()
            scanner.databaseLimit = 2
            let watcher = try DatabaseWatcher(scanner: scanner, logger: Logger(label: "test"))
            let news = await watcher.add(root) { _ in }
            #expect(news.omission?.contains("more than 2 databases") == true)
            #expect(news.needsScan(), "what is written to the others gives no sign")
            try FileManager.default.removeItem(atPath: root + "/1.db")
            _ = await watcher.scanNow(root)
            #expect(news.omission == nil)
            await watcher.remove(root)
        }
    }

    @Test func `databases that appear, are replaced and go are told of while the folder is watched`()
        async throws
    {
        try await withTemporaryFolder { folder in
            let root = folder + "/data"
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
            try openDatabase(root + "/first.db").addRows(1)
            let watcher = try DatabaseWatcher(logger: Logger(label: "test"))
            let running = Task { try await watcher.run() }
            let known = Mutex<Set<String>>([])
            let gone = Mutex<[String]>([])
            await watcher.add(root) { changes in
                for change in changes {
                    switch change {
                    case .found(let database): known.withLock { _ = $0.insert(database.name) }
                    case .gone(let database):
                        known.withLock { _ = $0.remove(database.name) }
                        gone.withLock { $0.append(database.name) }
                    }
                }
            }
            #expect(known.withLock { $0 } == ["first.db"])
            try FileManager.default.createDirectory(
                atPath: root + "/new/deep",
                withIntermediateDirectories: true
            )
            // Every journal mode; the last two make no file beside the database.
            for mode in ["wal", "delete", "memory", "off"] {
                let connection = try openDatabase("\(root)/new/deep/\(mode) ü.db", journal: mode)
                try await Task.sleep(for: .milliseconds(50))
                try connection.addRows(1)
            }
            try openDatabase(folder + "/elsewhere.db").addRows(1)
            try FileManager.default.moveItem(atPath: folder + "/elsewhere.db", toPath: root + "/moved.db")
            let expected: Set = [
                "first.db", "moved.db", "new/deep/wal ü.db", "new/deep/delete ü.db", "new/deep/memory ü.db",
                "new/deep/off ü.db",
            ]
            try await eventually { known.withLock { $0 } == expected }
            try openDatabase(folder + "/other.db").addRows(1)
            #expect(rename(folder + "/other.db", root + "/first.db") == 0)
            try FileManager.default.removeItem(atPath: root + "/new")
            try await eventually {
                known.withLock { $0 } == ["first.db", "moved.db"] && gone.withLock { $0.contains("first.db") }
            }
            await watcher.remove(root)
            running.cancel()
            _ = await running.result
        }
    }

    private func eventually(_ condition: () -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while !condition() {
            try #require(ContinuousClock.now < deadline)
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
