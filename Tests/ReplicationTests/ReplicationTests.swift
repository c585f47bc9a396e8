import Foundation
import Glibc
import Logging
import Replication
import Storage
import StorageTestSupport
import Synchronization
import Testing

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Replication to a folder` {
    @Test(arguments: ["wal", "delete", "truncate"])
    func `what was committed before a sync is restored, in any journal mode and under any name`(
        journal: String
    ) async throws {
        try await ReplicationFixture.withFolder { fixture in
            for name in ["main.db", "sub/dir/with space.db", "ünïcode 日本~x.sqlite"] {
                let database = try fixture.database(name, epoch: 7)
                let connection = try openDatabase(database.path, journal: journal)
                try connection.addRows(100)
                _ = try await fixture.replicator.watch(database)
                try connection.addRows(10)
                let position = try await fixture.replicator.sync(database)
                let copy = "\(fixture.folder)/copies/\(name)"
                let seen = Mutex<[RestoreProgress]>([])
                let restored = try await fixture.replicator.restore(database.replica, to: copy, at: .newest) {
                    progress in
                    seen.withLock { $0.append(progress) }
                }
                #expect(restored.point.transaction == position.transaction)
                #expect(try fingerprint(copy) == connection.fingerprint())
                let last = try #require(seen.withLock { $0.last })
                #expect(last.doneBytes == last.totalBytes && last.totalBytes == restored.sizeBytes)
            }
            let found = try await fixture.replicator.replicas(
                below: ReplicaLocation.folder(app: "app", epoch: 7)
            )
            #expect(found.count == 3)
            let names = found.compactMap {
                DatabaseName.decoded(String($0.prefix.path.dropFirst("apps/app/epochs/7/".count)))
            }
            #expect(Set(names) == ["main.db", "sub/dir/with space.db", "ünïcode 日本~x.sqlite"])
        }
    }

    @Test func `after release in the right order the chain goes on without a snapshot`() async throws {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            for round in 1...3 {
                do {
                    let connection = try openDatabase(database.path)
                    _ = try await fixture.replicator.watch(database)
                    try connection.addRows(round == 1 ? 2000 : 5)
                }
                _ = try await fixture.replicator.release(database)
                #expect(await fixture.replicator.watchedCount == 0)
            }
            let sizes = try await fixture.store.listAll(prefix: database.replica.prefix.path + "/ltx/").map(
                \.sizeBytes
            )
            #expect(
                sizes.filter { $0 > 100_000 }.count == 1,
                "only the first transactions are large: \(sizes)"
            )
            let copy = fixture.folder + "/copy.db"
            _ = try await fixture.replicator.restore(database.replica, to: copy, at: .newest) { _ in }
            #expect(try fingerprint(copy) == fingerprint(database.path))
        }
    }

    @Test func `an app without a replica has none to restore, and what lies there stays`() async throws {
        try await ReplicationFixture.withFolder { fixture in
            let path = fixture.folder + "/main.db"
            try openDatabase(path).addRows(3)
            let before = try fingerprint(path)
            let replica = try ReplicaLocation(app: "none", epoch: 1, database: "main.db")
            let error = await #expect(throws: ReplicationError.self) {
                try await fixture.replicator.restore(replica, to: path, at: .newest) { _ in }
            }
            #expect(error?.code == .noReplica)
            #expect(try fingerprint(path) == before)
            #expect(try await fixture.replicator.replicas(below: "apps/none/").isEmpty)
        }
    }

    @Test func `many syncs leave few files beside the database, and nothing is lost`() async throws {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            let connection = try openDatabase(database.path)
            try connection.addRows(1)
            _ = try await fixture.replicator.watch(database)
            for _ in 0..<500 {
                try connection.addRows(1)
                _ = try await fixture.replicator.sync(database)
            }
            let folder = DatabaseFiles(path: database.path).replicationFolder + "/ltx/0"
            // The files go beside the syncs.
            let deadline = ContinuousClock.now + .seconds(60)
            while try FileManager.default.contentsOfDirectory(atPath: folder).count > 350 {
                try #require(ContinuousClock.now < deadline)
                try connection.addRows(1)
                _ = try await fixture.replicator.sync(database)
            }
            // Killed, Litestream goes on from what is left.
            let starts = await fixture.replicator.startCount
            #expect(kill(try #require(await fixture.replicator.processIdentifier), SIGKILL) == 0)
            while await fixture.replicator.startCount == starts {
                try await Task.sleep(for: .milliseconds(20))
            }
            try connection.addRows(5)
            _ = try await fixture.replicator.sync(database)
            let copy = fixture.folder + "/copy.db"
            _ = try await fixture.replicator.restore(database.replica, to: copy, at: .newest) { _ in }
            #expect(try fingerprint(copy) == connection.fingerprint())
            let sizes = try await fixture.store.listAll(prefix: database.replica.prefix.path).map(\.sizeBytes)
            #expect(sizes.count > 400)
        }
    }

    @Test func `an earlier time and an earlier transaction can be restored`() async throws {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            let connection = try openDatabase(database.path)
            var states: [(time: Date, transaction: UInt64, fingerprint: String)] = []
            try connection.addRows(5)
            _ = try await fixture.replicator.watch(database)
            for _ in 0..<4 {
                try connection.addRows(5)
                let position = try await fixture.replicator.sync(database)
                try await Task.sleep(for: .milliseconds(30))
                states.append((Date(), position.transaction, try connection.fingerprint()))
                try await Task.sleep(for: .milliseconds(30))
            }
            let copy = fixture.folder + "/copy.db"
            for state in states {
                _ = try await fixture.replicator.restore(database.replica, to: copy, at: .time(state.time)) {
                    _ in
                }
                #expect(try fingerprint(copy) == state.fingerprint)
                let target = RestoreTarget.transaction(state.transaction)
                _ = try await fixture.replicator.restore(database.replica, to: copy, at: target) { _ in }
                #expect(try fingerprint(copy) == state.fingerprint)
            }
            let error = await #expect(throws: ReplicationError.self) {
                let before = states[0].time.addingTimeInterval(-3600)
                _ = try await fixture.replicator.restore(database.replica, to: copy, at: .time(before)) { _ in
                }
            }
            #expect(error?.code == .noReplica)
            #expect(error?.message.contains("the oldest state there is of") == true)
        }
    }

    @Test func `names that Litestream can't open, and a second replica of one file, are refused`()
        async throws
    {
        try await ReplicationFixture.withFolder { fixture in
            for name in ["what?.db", "a#b.db", "100%.db"] {
                let error = await #expect(throws: ReplicationError.self) {
                    try await fixture.replicator.watch(try fixture.database(name))
                }
                #expect(error?.code == .invalid)
            }
            let database = try fixture.database("main.db")
            try openDatabase(database.path).addRows(1)
            _ = try await fixture.replicator.watch(database)
            let error = await #expect(throws: ReplicationError.self) {
                try await fixture.replicator.watch(try fixture.database("main.db", epoch: 2))
            }
            #expect(error?.code == .invalid)
            try await fixture.replicator.forget(database)
            await #expect(throws: ReplicationError.self) { try await fixture.replicator.sync(database) }
        }
    }

    @Test func `a second replicator with the same state folder is refused`() async throws {
        try await ReplicationFixture.withFolder { fixture in
            let database = try fixture.database("main.db")
            try openDatabase(database.path).addRows(1)
            _ = try await fixture.replicator.watch(database)
            let settings = LitestreamSettings(
                executable: tool("litestream"),
                stateFolder: fixture.folder + "/state",
                address: fixture.address
            )
            let second = LitestreamReplicator(
                settings: settings,
                store: fixture.store,
                logger: .init(label: "second")
            )
            let error = await #expect(throws: ReplicationError.self) { try await second.run() }
            #expect(error?.message.contains("another process does") == true)
        }
    }
}

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Epochs` {
    @Test func `a restored database goes on under the next epoch without being sent again, in a folder`()
        async throws
    {
        try await ReplicationFixture.withFolder { try await continueOverEpochs($0) }
    }

    @Test func `a restored database goes on under the next epoch without being sent again, in S3`()
        async throws
    {
        try await ReplicationFixture.withS3 { fixture, server in
            try await continueOverEpochs(fixture)
            try await independentProof(fixture, server)
            try await twoOwners(fixture)
        }
    }

    /// Three epochs with a full integrity check after each; pins what Litestream 0.5.17 does with the seeded file.
    private func continueOverEpochs(_ fixture: ReplicationFixture) async throws {
        let replicator = fixture.replicator
        let first = try fixture.database("data/main ü.db", app: "epochs", epoch: 1, host: "host1")
        var position: ReplicaPosition
        var before: String
        do {
            let connection = try openDatabase(first.path)
            try connection.addRows(2000, bytes: 1000)
            _ = try await replicator.watch(first)
            try connection.addRows(20)
            before = try connection.fingerprint()
        }
        position = try await replicator.release(first)
        var old = first
        for epoch in 2...4 {
            let new = try fixture.database(
                "data/main ü.db",
                app: "epochs",
                epoch: epoch,
                host: "host\(epoch)"
            )
            let restored = try await replicator.restore(old.replica, to: new.path, at: .newest) { _ in }
            #expect(restored.point.transaction == position.transaction)
            #expect(try fingerprint(new.path) == before)
            let resumed = try await replicator.resume(new, from: old.replica, at: position)
            #expect(resumed > position)
            do {
                let connection = try openDatabase(new.path)
                try connection.addRows(7)
                before = try connection.fingerprint()
                _ = try await replicator.sync(new)
            }
            position = try await replicator.release(new)
            let objects = try await fixture.store.listAll(prefix: new.replica.prefix.path + "/")
            let added = objects.filter {
                UInt64($0.key.path.suffix(20).prefix(16), radix: 16) ?? 0 > restored.point.transaction
            }
            #expect(!added.isEmpty)
            #expect(added.allSatisfy { $0.sizeBytes < 60_000 }, "sent again: \(added.map(\.sizeBytes))")
            let copy = "\(fixture.folder)/copy\(epoch).db"
            _ = try await replicator.restore(new.replica, to: copy, at: .newest) { _ in }
            #expect(try fingerprint(copy) == before)
            old = new
        }
        // The same host again: its own files go on, with nothing restored.
        let again = ReplicatedDatabase(
            path: old.path,
            replica: try ReplicaLocation(app: "epochs", epoch: 5, database: "data/main ü.db")
        )
        _ = try await replicator.resume(again, from: old.replica, at: position)
        try openDatabase(again.path).addRows(3)
        _ = try await replicator.release(again)
        let copy = "\(fixture.folder)/copy5.db"
        _ = try await replicator.restore(again.replica, to: copy, at: .newest) { _ in }
        #expect(try fingerprint(copy) == fingerprint(again.path))
        let wrong = await #expect(throws: ReplicationError.self) {
            let far = ReplicaPosition(transaction: 9999)
            _ = try await replicator.resume(
                try fixture.database("x.db", epoch: 9),
                from: old.replica,
                at: far
            )
        }
        #expect(wrong?.code == .damaged)
    }

    /// Stock Litestream and boto3 read the store.
    private func independentProof(_ fixture: ReplicationFixture, _ server: SeaweedFS) async throws {
        let replica = try ReplicaLocation(app: "epochs", epoch: 5, database: "data/main ü.db")
        let address = "s3://dev/in/here/\(replica.prefix.path)?endpoint=\(server.endpoint)&region=us-east-1"
        let stock = fixture.folder + "/stock.db"
        _ = try await run(
            tool("litestream"),
            ["restore", "-integrity-check", "full", "-o", stock, address],
            environment: server.environment
        )
        #expect(try fingerprint(stock) == fingerprint(fixture.folder + "/copy5.db"))
        let script = """
            import boto3
            client = boto3.client("s3", endpoint_url="\(server.endpoint)", region_name="us-east-1")
            objects = client.list_objects_v2(Bucket="dev", Prefix="in/here/\(replica.prefix.path)/")["Contents"]
            print(all(client.get_object(Bucket="dev", Key=o["Key"])["Body"].read(4) == b"LTX1" for o in objects))
            """
        #expect(try await runPython(script, environment: server.environment) == ["True"])
    }

    /// The host that lost an app goes on writing: it can't acknowledge, and nobody reads what it wrote.
    private func twoOwners(_ fixture: ReplicationFixture) async throws {
        let clock = ManualClock()
        let ownership = try Ownership(app: "contested", store: fixture.store)
        let loser = try await Lease.take(
            holder: "one",
            duration: .seconds(10),
            margin: .seconds(1),
            process: "1",
            store: fixture.store,
            clock: clock
        )
        let claim = try await ownership.claim(under: loser, claim: "first")
        let old = try fixture.database("main.db", app: "contested", epoch: claim.epoch, host: "one")
        let gate = CommitGate(replicator: fixture.replicator)
        let connection = try openDatabase(old.path)
        try connection.addRows(50)
        _ = try await fixture.replicator.watch(old)
        try await gate.confirm([old]) { try loser.check() }
        let acknowledged = try connection.fingerprint()

        async let revoked = Lease.revoke(holder: "one", store: fixture.store, clock: clock)
        while clock.sleeperCount == 0 { try await Task.sleep(for: .milliseconds(1)) }
        clock.advance(by: .seconds(11))
        let term = try #require(try await revoked)
        // Only now does the loser write: it has not noticed yet.
        try connection.addRows(5)
        let refused = await #expect(throws: ReplicationError.self) {
            try await gate.confirm([old]) { try loser.check() }
        }
        #expect(refused?.code == .superseded)
        #expect(refused?.description.contains("ran out") == true)

        let winner = try await Lease.take(
            holder: "two",
            duration: .seconds(10),
            margin: .seconds(1),
            process: "2",
            store: fixture.store,
            clock: clock
        )
        let next = try await ownership.claim(under: winner, ended: ["one": term], claim: "second")
        #expect(next.epoch == claim.epoch + 1)
        try await ReplicationFixture.with(
            folder: fixture.folder,
            store: fixture.store,
            address: fixture.address,
            name: "state-two"
        ) { other in
            let new = try other.database("main.db", app: "contested", epoch: next.epoch, host: "two")
            let restored = try await other.replicator.restore(old.replica, to: new.path, at: .newest) { _ in }
            let base = try fingerprint(new.path)
            _ = try await other.replicator.resume(
                new,
                from: old.replica,
                at: ReplicaPosition(transaction: restored.point.transaction)
            )
            // Both write at the same time, each to its own epoch.
            let winning = try openDatabase(new.path)
            for _ in 0..<5 {
                try connection.addRows(1)
                _ = try? await fixture.replicator.sync(old)  // What a zombie's Litestream does by itself.
                try winning.addRows(1)
                try await CommitGate(replicator: other.replicator).confirm([new]) { try winner.check() }
            }
            let copy = other.folder + "/contested.db"
            _ = try await other.replicator.restore(new.replica, to: copy, at: .newest) { _ in }
            #expect(try fingerprint(copy) == winning.fingerprint())
            #expect(base.hasPrefix(acknowledged.prefix(3)))
        }
        await #expect(throws: StorageError.self) { try await ownership.release(claim) }
        await #expect(throws: StorageError.self) { try await loser.renew() }
    }
}
