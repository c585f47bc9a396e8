import Control
import Storage
import StorageTestSupport
import Synchronization
import TestSupport
import Testing

@testable import Orchestration

@Suite("The end of a lease", .timeLimit(.minutes(3)))
struct LeaseWatcherTests {
    private static let duration = Duration.seconds(10)

    private struct World {
        let store: FolderStore
        let lease: Lease<ManualClock>
        /// The holder's own clock, and that of who watches.
        let holder: ManualClock
        let watcher: ManualClock
        let outcome = Outcome()

        /// Lets time pass on both clocks, the holder's at a rate of its own, until everybody waits again.
        func pass(_ milliseconds: Int, rate: Double = 1) async {
            holder.advance(by: .microseconds(Int(Double(milliseconds * 1000) * rate)))
            watcher.advance(by: .milliseconds(milliseconds))
            await settle()
        }

        func settle() async {
            while watcher.sleeperCount == 0, outcome.value == nil { await Task.yield() }
        }
    }

    private final class Outcome: Sendable {
        private let state = Mutex<Result<LeaseOutcome, any Error>?>(nil)
        var value: Result<LeaseOutcome, any Error>? {
            get { state.withLock(\.self) }
            set { state.withLock { $0 = newValue } }
        }
    }

    private func with(_ body: (World) async throws -> Void) async throws {
        try await withTemporaryFolder { folder in
            let store = try await FolderStore(root: folder)
            let (holder, watcher) = (ManualClock(), ManualClock())
            let lease = try await Lease.take(
                holder: "a",
                duration: Self.duration,
                margin: .milliseconds(100),
                process: "a-1",
                store: store,
                clock: holder
            )
            try await body(World(store: store, lease: lease, holder: holder, watcher: watcher))
        }
    }

    private func watch(_ world: World) -> Task<Void, Never> {
        Task {
            do {
                let host = try HostID(validating: "a")
                let watch = LeaseWatch(host: host, term: 1, leaseMilliseconds: 10_000)
                let watcher = LeaseWatcher(store: world.store, clock: world.watcher)
                world.outcome.value = .success(try await watcher.end(watch) {})
            } catch { world.outcome.value = .failure(error) }
        }
    }

    @Test func `a lease that is not renewed is over a duration after the first look`() async throws {
        try await with { world in
            let watching = watch(world)
            await world.settle()
            var time = 0
            while world.outcome.value == nil {
                await world.pass(100)
                time += 100
            }
            await watching.value
            let outcome = try world.outcome.value?.get()
            #expect(outcome == .over(term: 1))
            #expect(time == 10_200)
            await #expect(throws: StorageError.self) { try await world.lease.renew() }
        }
    }

    @Test func `a lease that is renewed is left alone`() async throws {
        try await with { world in
            let watching = watch(world)
            await world.settle()
            await world.pass(3000)
            try await world.lease.renew()
            while world.outcome.value == nil { await world.pass(500) }
            await watching.value
            let outcome = try world.outcome.value?.get()
            #expect(outcome == .renewed)
            try await world.lease.renew()
            #expect(world.lease.isValid)
        }
    }

    @Test func `a lease that was given back is over at once, and a revoked one a duration later`()
        async throws
    {
        try await with { world in
            try await world.lease.giveBack()
            await watch(world).value
            let outcome = try world.outcome.value?.get()
            #expect(outcome == .over(term: 1))
        }
        try await with { world in
            let first = watch(world)
            await world.settle()
            // Control dies after it has revoked, and another one looks anew.
            await world.pass(6000)
            first.cancel()
            await world.pass(1000)
            await first.value
            world.outcome.value = nil
            let second = watch(world)
            await world.settle()
            await world.pass(9000)
            #expect(world.outcome.value == nil)
            while world.outcome.value == nil { await world.pass(100) }
            await second.value
            let outcome = try world.outcome.value?.get()
            #expect(outcome == .over(term: 1))
        }
    }

    /// A holder that renews when it likes and stops to reach the store at some moment, with a clock of its own rate.
    @Test(arguments: 0..<40)
    func `when a lease is said to be over its holder has stopped`(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        try await with { world in
            let rate = Double.random(in: 0.99...1.01, using: &random)
            let lastRenewal = Int.random(in: 0...20_000, using: &random)
            // Signs of life that Temporal took count until its session was over, which is before the first look.
            let begin = Int.random(in: 0...20_000, using: &random)
            let lastSign = begin - Int.random(in: 0...4000, using: &random)
            var (time, watching, looks) = (0, Task<Void, Never>?.none, 0)
            while true {
                if watching == nil, time >= begin {
                    watching = watch(world)
                    await world.settle()
                }
                if time < lastRenewal, Int.random(in: 0..<4, using: &random) == 0 {
                    // One that was revoked is lost, as it should be.
                    try? await world.lease.renew()
                }
                if time <= lastSign { world.lease.confirm(sentAt: world.holder.now) }
                switch world.outcome.value {
                case nil: break
                case .success(.over):
                    #expect(!world.lease.isValid, "seed \(seed): at \(time) ms")
                    return
                case .success(.renewed):
                    looks += 1
                    #expect(looks < 20, "seed \(seed): nobody renews it any more")
                    world.outcome.value = nil
                    watching = watch(world)
                    await world.settle()
                case .failure(let error): throw error
                }
                if watching == nil {
                    world.holder.advance(by: .microseconds(Int(500_000 * rate)))
                    world.watcher.advance(by: .milliseconds(500))
                } else {
                    await world.pass(500, rate: rate)
                }
                time += 500
            }
        }
    }
}
