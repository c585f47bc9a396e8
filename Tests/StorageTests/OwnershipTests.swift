import NIOCore
import Storage
import StorageTestSupport
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(3))) struct `Leases and ownership` {
    private typealias Machine = LeaseMachine<ManualClock.Instant>

    private func moment(_ seconds: Int) -> ManualClock.Instant { .init(offset: .seconds(seconds)) }

    @Test func `a lease is valid from the moment its renewal was sent, less the margin`() {
        var machine = Machine(duration: .seconds(10), margin: .seconds(1))
        #expect(!machine.isValid(at: moment(0)))
        machine.renewed(sentAt: moment(5))
        #expect(machine.isValid(at: moment(13)))
        #expect(!machine.isValid(at: moment(14)))
        machine.renewed(sentAt: moment(3))
        #expect(machine.isValid(at: moment(13)), "an older answer does not shorten it")
        machine.renewed(sentAt: moment(20))
        #expect(machine.isValid(at: moment(28)), "an expired lease that nobody revoked is renewed")
        machine.refused()
        machine.renewed(sentAt: moment(21))
        #expect(!machine.isValid(at: moment(21)), "a lost lease never comes back")
    }

    /// The store, the holder and a revoker, with delays and clock rates drawn from a seed.
    @Test(arguments: 0..<300) func `who revoked and waited never meets a holder that may act`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let durationMilliseconds = Int.random(in: 1000...20_000, using: &random)
        var machine = Machine(
            duration: .milliseconds(durationMilliseconds),
            margin: .milliseconds(Int.random(in: 0..<durationMilliseconds / 2, using: &random))
        )
        // The holder's clock runs up to 1 % slower or faster than true time, from any start.
        let rate = Double.random(in: 0.99...1.01, using: &random)
        let start = Double.random(in: 0...1e6, using: &random)
        func holderClock(_ trueTime: Double) -> ManualClock.Instant {
            .init(offset: .milliseconds(Int(start + trueTime * rate)))
        }
        let revokedAt = Double.random(in: 0...60_000, using: &random)
        var time = 0.0
        while time < revokedAt * 2 {
            let sent = time
            let atStore = sent + Double.random(in: 0...3000, using: &random)
            let answered = atStore + Double.random(in: 0...30_000, using: &random)
            if atStore < revokedAt { machine.renewed(sentAt: holderClock(sent)) }
            time = answered + Double.random(in: 0...5000, using: &random)
        }
        let record = LeaseRecord(
            holder: "a",
            term: 1,
            renewals: 0,
            duration: .milliseconds(durationMilliseconds),
            isRevoked: true,
            process: "p"
        )
        let (seconds, attoseconds) = waitAfterRevoking(record).components
        let free = revokedAt + Double(seconds) * 1000 + Double(attoseconds) / 1e15
        #expect(!machine.isValid(at: holderClock(free)), "seed \(seed)")
    }

    @Test func `renewing keeps a lease, revoking ends it and waits its time out`() async throws {
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder)
            let clock = ManualClock()
            let lease = try await take("a", store, clock)
            #expect(lease.isValid && lease.term == 1)
            clock.advance(by: .seconds(6))
            try await lease.renew()
            clock.advance(by: .seconds(6))
            try lease.check()
            async let revoked = Lease.revoke(holder: "a", store: store, clock: clock)
            while clock.sleeperCount == 0 { await Task.yield() }
            let refused = await #expect(throws: StorageError.self) { try await lease.renew() }
            #expect(refused?.code == .conditionFailed)
            #expect(lease.isLost)
            #expect(throws: StorageError.self) { try lease.check() }
            clock.advance(by: .seconds(11))
            #expect(try await revoked == 1)
            #expect(try await take("a", store, clock).term == 2)
            #expect(try await Lease.revoke(holder: "nobody", store: store, clock: clock) == nil)
        }
    }

    @Test func `a holder that could not renew in time stops by itself`() async throws {
        try await withTemporaryFolder { folder in
            let clock = ManualClock()
            let lease = try await take("a", try await FolderStore(root: folder), clock)
            clock.advance(by: .seconds(9.5))
            let error = #expect(throws: StorageError.self) { try lease.check() }
            #expect(error?.message.contains("ran out") == true)
            try await lease.renew()
            try lease.check()
        }
    }

    @Test func `a renewal whose answer was lost is no revocation, and one after a revocation is refused`()
        async throws
    {
        try await withTemporaryFolder { folder in
            let clock = ManualClock()
            let store = DeafStore(store: try await FolderStore(root: folder))
            let lease = try await Lease.take(
                holder: "a",
                duration: .seconds(10),
                margin: .seconds(1),
                process: "a-1",
                store: store,
                clock: clock
            )
            clock.advance(by: .seconds(6))
            store.losesAnswers.withLock { $0 = true }
            await #expect(throws: StorageError.self) { try await lease.renew() }
            store.losesAnswers.withLock { $0 = false }
            clock.advance(by: .seconds(2))
            try await lease.renew()
            clock.advance(by: .seconds(8))
            try lease.check()

            store.losesAnswers.withLock { $0 = true }
            await #expect(throws: StorageError.self) { try await lease.renew() }
            store.losesAnswers.withLock { $0 = false }
            let record = try StoredRecord<LeaseRecord>(key: ObjectKey("hosts/a/lease.json"), store: store)
            let found = try #require(try await record.read())
            var revoked = found.value
            revoked.isRevoked = true
            _ = try await record.write(revoked, replacing: found.etag)
            let error = await #expect(throws: StorageError.self) { try await lease.renew() }
            #expect(error?.code == .conditionFailed)
            #expect(lease.isLost)
        }
    }

    @Test func `a time of day that is set back changes nothing, because none is used`() async throws {
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder)
            let record = try StoredRecord<LeaseRecord>(key: ObjectKey("hosts/a/lease.json"), store: store)
            _ = try await take("a", store, ManualClock())
            let text = try await store.get(record.key).bytes(upTo: 4096)
            for word in ["date", "time", "expires", "until"] {
                #expect(!String(buffer: text).lowercased().contains(word))
            }
        }
    }

    @Test func `a claim takes the next epoch only when the app is free`() async throws {
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder)
            let clock = ManualClock()
            let (a, b) = (try await take("a", store, clock), try await take("b", store, clock))
            let ownership = try Ownership(app: "guestbook", store: store)
            let first = try await ownership.claim(under: a, claim: "1")
            #expect(first.epoch == 1)
            let refused = await #expect(throws: StorageError.self) {
                try await ownership.claim(under: b, claim: "2")
            }
            #expect(refused?.code == .denied)
            #expect(refused?.message.contains("a owns it at epoch 1") == true)
            let again = try await ownership.claim(under: a, claim: "3")
            #expect(again.epoch == 2)
            await #expect(throws: StorageError.self) { try await ownership.verify(first) }
            try await ownership.verify(again)
            await #expect(throws: StorageError.self) { try await ownership.release(first) }
            try await ownership.release(again)
            let moved = try await ownership.claim(under: b, claim: "4")
            #expect(moved.epoch == 3 && moved.record.holder == "b")
        }
    }

    @Test func `a host that comes back after failover must claim anew, and one of two wins`() async throws {
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder)
            let clock = ManualClock()
            let (a, b) = (try await take("a", store, clock), try await take("b", store, clock))
            let ownership = try Ownership(app: "guestbook", store: store)
            let zombie = try await ownership.claim(under: a, claim: "1")
            async let ended = Lease.revoke(holder: "a", store: store, clock: clock)
            while clock.sleeperCount == 0 { await Task.yield() }
            clock.advance(by: .seconds(11))
            let term = try #require(try await ended)
            try await b.renew()
            let returned = try await take("a", store, clock)
            async let one = claims { try await ownership.claim(under: b, ended: ["a": term], claim: "2") }
            async let two = claims { try await ownership.claim(under: returned, claim: "3") }
            let winners = await [one, two].compactMap { $0 }
            // The second may also come after the first; then it is refused or, for the host itself, goes on from it.
            #expect(!winners.isEmpty)
            #expect(Set(winners.map(\.epoch)).count == winners.count)
            await #expect(throws: StorageError.self) { try await ownership.verify(zombie) }
            #expect(throws: StorageError.self) { try a.check() }
            await #expect(throws: StorageError.self) { try await ownership.claim(under: a, claim: "4") }
        }
    }

    @Test func `of 32 claims at once each epoch has one owner`() async throws {
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder)
            let clock = ManualClock()
            let lease = try await take("a", store, clock)
            let ownership = try Ownership(app: "guestbook", store: store)
            let epochs = await withTaskGroup(of: Int?.self) { group in
                for contender in 0..<32 {
                    group.addTask { try? await ownership.claim(under: lease, claim: "\(contender)").epoch }
                }
                return await group.reduce(into: [Int]()) { if let epoch = $1 { $0.append(epoch) } }
            }
            #expect(!epochs.isEmpty)
            #expect(Set(epochs).count == epochs.count)
            #expect(try await ownership.current()?.epoch == epochs.max())
        }
    }

    private func take(
        _ holder: String,
        _ store: FolderStore,
        _ clock: ManualClock
    ) async throws -> Lease<ManualClock> {
        try await Lease.take(
            holder: holder,
            duration: .seconds(10),
            margin: .seconds(1),
            process: "\(holder)-\(UInt64.random(in: 0 ... .max))",
            store: store,
            clock: clock
        )
    }

    private func claims(_ body: () async throws -> Ownership.Claim) async -> Ownership.Claim? {
        try? await body()  // A claim that lost the race.
    }
}

/// A store whose answers to writes can be lost.
private final class DeafStore: ObjectStore {
    let losesAnswers = Mutex(false)
    private let store: FolderStore

    init(store: FolderStore) { self.store = store }

    var location: String { store.location }

    func put(_ key: ObjectKey, _ body: ObjectBody, if condition: WriteCondition) async throws -> ETag {
        let etag = try await store.put(key, body, if: condition)
        if losesAnswers.withLock({ $0 }) { throw StorageError(.unavailable, "the answer is lost") }
        return etag
    }

    func get(_ key: ObjectKey, range: Range<Int64>?) async throws -> StoredObject {
        try await store.get(key, range: range)
    }

    func head(_ key: ObjectKey) async throws -> ObjectInfo? { try await store.head(key) }
    func delete(_ key: ObjectKey) async throws { try await store.delete(key) }

    func list(prefix: String, after: ObjectKey?, limit: Int) async throws -> ObjectPage {
        try await store.list(prefix: prefix, after: after, limit: limit)
    }

    func copy(_ source: ObjectKey, to target: ObjectKey) async throws {
        try await store.copy(source, to: target)
    }
}
