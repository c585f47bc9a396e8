import Foundation
import NIOCore
@testable import Replication
import Storage
import StorageTestSupport
import Testing

@Suite(.timeLimit(.minutes(3))) struct `LTX files` {
    /// The check value of the catalogue of parametrised CRC algorithms, CRC-64/GO-ISO.
    @Test func `the checksum has the published check value`() {
        var crc = CRC64()
        crc.update("123456789".utf8)
        #expect(crc.value == 0xB909_56C7_75A4_1001)
        var split = CRC64()
        for byte in "123456789".utf8 { split.update(CollectionOfOne(byte)) }
        #expect(split.value == crc.value)
    }

    @Test func `every file that Litestream writes is found sound, and none with a changed byte`() async throws
    {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            let connection = try openDatabase(database.path)
            for _ in 0..<4 {
                try connection.addRows(40, bytes: 300)
                try connection.execute("INSERT INTO rows (content) VALUES (zeroblob(20000))")
                _ = try await fixture.replicator.sync(try await watched(database, fixture))
            }
            let objects = try await fixture.store.listAll(prefix: database.replica.prefix.path)
            #expect(objects.count >= 4)
            var random = SeededGenerator(seed: 7)
            for object in objects {
                let bytes = Array(
                    try await fixture.store.get(object.key).bytes(upTo: 1 << 24).readableBytesView
                )
                #expect(LTXFile.problem(bytes) == nil, "\(object.key)")
                let header = try #require(LTXHeader(bytes))
                #expect(header.bytes == Array(bytes.prefix(LTXHeader.byteCount)))
                for _ in 0..<20 {
                    var changed = bytes
                    let index = Int.random(in: 0..<bytes.count, using: &random)
                    changed[index] ^= UInt8.random(in: 1...255, using: &random)
                    #expect(LTXFile.problem(changed) != nil, "seed 7, byte \(index) of \(object.key)")
                    #expect(
                        LTXFile.problem(Array(bytes.prefix(index))) != nil,
                        "cut at \(index) of \(object.key)"
                    )
                }
            }
        }
    }

    @Test func `a transaction without pages is what Litestream reads as one`() async throws {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            let connection = try openDatabase(database.path)
            try connection.addRows(10)
            let position = try await fixture.replicator.watch(database)
            #expect(position.transaction == 1)
            let before = try connection.fingerprint()
            let one = try database.replica.prefix.appending("ltx/0/\(LTXObject.name(of: 1))")
            let first = try #require(
                LTXHeader(try await fixture.store.get(one).bytes(upTo: 1 << 20).readableBytesView)
            )
            let header = LTXHeader(
                flags: LTXHeader.noChecksum,
                pageSize: 4096,
                commit: first.commit,
                minTransaction: 2,
                maxTransaction: 2,
                timestamp: 1_700_000_000_000,
                walOffset: 32,
                walSize: 0,
                walSalt1: 1,
                walSalt2: 2
            )
            let bytes = LTXFile.withoutPages(header)
            #expect(LTXFile.problem(bytes) == nil)
            #expect(bytes.count == 131)
            let key = try database.replica.prefix.appending("ltx/0/\(LTXObject.name(of: 2))")
            try await fixture.store.put(key, .bytes(.init(bytes: bytes)))
            let copy = fixture.folder + "/copy.db"
            let restored = try await fixture.replicator.restore(database.replica, to: copy, at: .newest) {
                _ in
            }
            #expect(restored.point.transaction == 2)
            #expect(try fingerprint(copy) == before)
        }
    }

    @Test func `names of databases are safe in keys and come back`() {
        for name in ["main.db", "sub/dir/x.sqlite", "with space.db", "ünï/日本.db", "a~b%20?#&+=.db", "~7e"] {
            let encoded = DatabaseName.encoded(name)
            #expect(encoded.utf8.allSatisfy { $0 < 0x7F && $0 > 0x20 && !"%?#&+= ".utf8.contains($0) })
            #expect(DatabaseName.decoded(encoded) == name)
        }
        for wrong in ["~", "~zz", "~41", "a b", "~ff~fe"] {
            #expect(DatabaseName.decoded(wrong) == nil, "\(wrong)")
        }
    }

    private func watched(
        _ database: ReplicatedDatabase,
        _ fixture: ReplicationFixture
    ) async throws -> ReplicatedDatabase {
        _ = try await fixture.replicator.watch(database)
        return database
    }
}

@Suite struct `Local files of transactions` {
    @Test func `those in the replica go, but for the newest`() {
        let names = (1...10).map { LTXObject.name(of: $0) }
        func numbers(_ names: [String]) -> [UInt64] { names.compactMap { UInt64($0.prefix(16), radix: 16) } }
        let removed = LocalTransactions.removable(names.shuffled(), replicated: 10, keeping: 3)
        #expect(numbers(removed) == [1, 2, 3, 4, 5, 6, 7])
        // What the replica does not have stays, and so does the last that it has.
        #expect(numbers(LocalTransactions.removable(names, replicated: 5, keeping: 3)) == [1, 2, 3, 4])
        #expect(LocalTransactions.removable(names, replicated: 0, keeping: 3) == [])
        #expect(LocalTransactions.removable(names, replicated: 10, keeping: 10) == [])
        let others = ["notes.txt", "0000000000000001-0000000000000001.ltx.tmp", "x-y.ltx"]
        #expect(LocalTransactions.removable(others, replicated: 10, keeping: 0) == [])
    }

    @Test func `a link in place of the folder is not followed`() async throws {
        try await withTemporaryFolder { folder in
            let other = folder + "/other/ltx/0"
            try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
            let name = other + "/" + LTXObject.name(of: 1)
            try Data("not to be removed".utf8).write(to: URL(fileURLWithPath: name))
            let files = DatabaseFiles(path: folder + "/main.db")
            try FileManager.default.createSymbolicLink(
                atPath: files.replicationFolder,
                withDestinationPath: folder + "/other"
            )
            try files.removeCompanions()
            #expect(FileManager.default.fileExists(atPath: name))
            #expect(!FileManager.default.fileExists(atPath: files.replicationFolder))
        }
    }
}

@Suite struct `Restore plans` {
    private func object(_ level: Int, _ first: UInt64, _ last: UInt64) throws -> LTXObject {
        LTXObject(
            key: try ObjectKey("r/ltx/\(level)/\(first)-\(last)"),
            level: level,
            minTransaction: first,
            maxTransaction: last,
            sizeBytes: 100,
            time: Date(timeIntervalSince1970: Double(last))
        )
    }

    private let replica: ReplicaLocation

    init() throws { replica = ReplicaLocation(prefix: try ObjectKey("r")) }

    @Test func `the chain takes the files that reach furthest`() throws {
        let objects = [
            try object(9, 1, 50), try object(2, 1, 40), try object(1, 41, 60), try object(1, 51, 70),
            try object(0, 69, 69), try object(0, 70, 70), try object(0, 71, 71), try object(0, 72, 72),
        ]
        let plan = try RestorePlan.newest(objects.shuffled(), replica: replica)
        #expect(plan.objects.map(\.maxTransaction) == [50, 70, 71, 72])
        #expect(RestorePlan(objects, upTo: 71).last?.maxTransaction == 71)
        #expect(RestorePlan(objects, upTo: 45).last?.maxTransaction == 40)
    }

    @Test func `a gap is an error that says where, and what can be restored`() throws {
        let objects = [try object(0, 1, 1), try object(0, 2, 2), try object(0, 4, 4), try object(0, 5, 5)]
        let error = #expect(throws: ReplicationError.self) {
            try RestorePlan.newest(objects, replica: replica)
        }
        #expect(error?.code == .damaged)
        #expect(error?.lastGood?.transaction == 2)
        #expect(error?.message.contains("reach transaction 2 and go on at 4") == true)
        #expect(RestorePlan([try object(0, 2, 9)]).objects.isEmpty)
    }

    /// Any set of files: the plan reaches as far as any chain can.
    @Test(arguments: 0..<200) func `no chain reaches further than the plan`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let objects = try (0..<Int.random(in: 1...14, using: &random)).map { _ in
            let first = UInt64.random(in: 1...20, using: &random)
            return try object(
                Int.random(in: 0...9, using: &random),
                first,
                first + UInt64.random(in: 0...8, using: &random)
            )
        }
        let limit = UInt64.random(in: 1...30, using: &random)
        var reachable: Set<UInt64> = [0]
        var isGrowing = true
        while isGrowing {
            isGrowing = false
            for object in objects where object.maxTransaction <= limit {
                let begins = reachable.contains {
                    $0 + 1 >= object.minTransaction && $0 < object.maxTransaction
                }
                if begins, reachable.insert(object.maxTransaction).inserted { isGrowing = true }
            }
        }
        let plan = RestorePlan(objects, upTo: limit)
        #expect(plan.last?.maxTransaction ?? 0 == reachable.max(), "seed \(seed)")
        var reached: UInt64 = 0
        for object in plan.objects {
            #expect(object.minTransaction <= reached + 1 && object.maxTransaction > reached, "seed \(seed)")
            reached = object.maxTransaction
        }
    }

    @Test func `keys of folders and of S3 are read, and others are not`() throws {
        func parsed(_ path: String) throws -> LTXObject? {
            LTXObject(ObjectInfo(key: try ObjectKey(path), sizeBytes: 1, modified: Date(), etag: nil))
        }
        let s3 = try #require(try parsed("apps/a/epochs/1/x.db/0009/0000000000000001-00000000000000ff.ltx"))
        #expect(s3.level == 9 && s3.minTransaction == 1 && s3.maxTransaction == 255 && s3.isSnapshot)
        #expect(LTXObject.replica(of: s3.key) == "apps/a/epochs/1/x.db")
        let folder = try #require(try parsed("a/ltx/0/0000000000000002-0000000000000002.ltx"))
        #expect(
            folder.level == 0 && LTXObject.replica(of: folder.key) == "a" && folder.singlesFolder == "ltx/0"
        )
        #expect(try parsed("a/ltx/0/0000000000000002-0000000000000001.ltx") == nil)
        #expect(try parsed("a/ltx/0/0000000000000001-0000000000000001.ltx.tmp") == nil)
        #expect(try parsed("a/ltx/0/1-1.ltx") == nil)
        #expect(try parsed("owner.json") == nil)
    }
}

@Suite struct `Shared syncs` {
    @Test(arguments: 0..<100) func `every waiter is released by a sync that started after it asked`(
        seed: UInt64
    ) {
        var random = SeededGenerator(seed: seed)
        var coalescer = SyncCoalescer<Int>(limit: 20)
        var time = 0
        var running: Int?
        var asked: [Int: Int] = [:]
        var syncs = 0
        for waiter in 0..<300 {
            time += 1
            if Bool.random(using: &random) {
                switch coalescer.ask(waiter) {
                case .start:
                    #expect(running == nil, "seed \(seed): two syncs at once")
                    running = time
                    syncs += 1
                    asked[waiter] = time
                case .wait:
                    #expect(running != nil)
                    asked[waiter] = time
                case .refuse: #expect(coalescer.waitingCount >= 20)
                }
            } else if let started = running {
                let (released, startsAnother) = coalescer.finished()
                #expect(!released.isEmpty)
                for waiter in released {
                    #expect(asked.removeValue(forKey: waiter).map { $0 <= started } == true, "seed \(seed)")
                }
                running = startsAnother ? time : nil
                syncs += startsAnother ? 1 : 0
            }
        }
        while running != nil {
            let (released, startsAnother) = coalescer.finished()
            for waiter in released { asked[waiter] = nil }
            if !startsAnother { running = nil }
        }
        #expect(asked.isEmpty && coalescer.isIdle, "seed \(seed)")
    }
}
