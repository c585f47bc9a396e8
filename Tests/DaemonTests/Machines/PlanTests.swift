import Daemon
import TestSupport
import Testing

@Suite struct PlanTests {
    // MARK: - The queue of starts

    @Test func `starts beyond the slots wait in their order and a full queue refuses`() {
        var queue = WakeQueue<Int>(slots: 2, capacity: 2)
        #expect((1...5).map { queue.request($0) } == [.start, .start, .wait, .wait, .full])
        #expect(queue.request(1) == .start)
        #expect(queue.request(3) == .wait)
        #expect(queue.finish(1) == [3])
        #expect(queue.finish(4) == [])
        #expect(queue.finish(2) == [])
        #expect(queue.request(6) == .start)
    }

    @Test(arguments: 0..<50)
    func `no start is lost and never more run than there are slots`(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        var queue = WakeQueue<Int>(slots: 3, capacity: 1000)
        var running: Set<Int> = []
        var asked: Set<Int> = []
        for key in 0..<300 {
            asked.insert(key)
            if queue.request(key) == .start { running.insert(key) }
            while Bool.random(using: &random), let done = running.randomElement(using: &random) {
                running.remove(done)
                asked.remove(done)
                running.formUnion(queue.finish(done))
            }
            #expect(running.count <= 3, "seed \(seed)")
        }
        while let done = running.first {
            running.remove(done)
            asked.remove(done)
            running.formUnion(queue.finish(done))
        }
        #expect(asked.isEmpty, "seed \(seed)")
        #expect(queue.waitingCount == 0 && queue.runningCount == 0)
    }

    // MARK: - The pool

    @Test func `the pool boots what waits and its minimum, no more at once than it may`() {
        var plan = PoolPlan(limits: .init(minimum: 2, maximum: 8, boots: 2))
        #expect(
            plan.decide(.init(warm: 0, booting: 0, waiting: 0), now: .zero, isMemoryShort: false) == .boot(2)
        )
        #expect(
            plan.decide(.init(warm: 2, booting: 0, waiting: 0), now: .zero, isMemoryShort: false) == .stay
        )
        #expect(
            plan.decide(.init(warm: 0, booting: 1, waiting: 9), now: .zero, isMemoryShort: false) == .boot(1)
        )
        #expect(
            plan.decide(.init(warm: 0, booting: 2, waiting: 9), now: .zero, isMemoryShort: false) == .stay
        )
    }

    @Test func `the pool grows with demand and shrinks when it is gone`() {
        var plan = PoolPlan(limits: .init(minimum: 1, maximum: 4, boots: 2))
        for _ in 0..<40 { plan.taken(now: .zero) }
        #expect(plan.target == 4)
        let later = Uptime.seconds(600)
        #expect(
            plan.decide(.init(warm: 4, booting: 0, waiting: 0), now: later, isMemoryShort: false)
                == .retire(2)
        )
        #expect(plan.target == 1)
    }

    @Test func `short memory leaves one warm worker`() {
        var plan = PoolPlan(limits: .init(minimum: 3, maximum: 8, boots: 2))
        #expect(
            plan.decide(.init(warm: 3, booting: 0, waiting: 0), now: .zero, isMemoryShort: true) == .retire(2)
        )
    }

    @Test func `boots that fail pause longer and longer`() {
        var plan = PoolPlan(limits: .init(minimum: 1, maximum: 8, boots: 2))
        let stock = PoolPlan.Stock(warm: 0, booting: 0, waiting: 0)
        plan.bootFailed(now: .zero)
        #expect(plan.decide(stock, now: .milliseconds(400), isMemoryShort: false) == .stay)
        #expect(plan.decide(stock, now: .milliseconds(600), isMemoryShort: false) == .boot(1))
        for _ in 0..<20 { plan.bootFailed(now: .zero) }
        #expect(plan.nextAttempt == .seconds(30))
        plan.booted()
        #expect(plan.nextAttempt == nil)
    }

    // MARK: - Sleep

    private func candidate(
        _ app: Int,
        _ depth: SleepPlan.Depth,
        idle: Int,
        bytes: Int = 0,
        never: Bool = false
    ) -> SleepPlan.Candidate {
        .init(
            app: app,
            depth: depth,
            idle: .seconds(idle),
            sleepAfter: never ? nil : .seconds(60),
            memoryBytes: bytes
        )
    }

    @Test func `an app is frozen after its idle time and stopped long after`() {
        let plan = SleepPlan(limits: .init(frozenFor: .seconds(600), frozenBytes: 1000, canFreeze: true))
        let candidates = [
            candidate(1, .hot, idle: 59), candidate(2, .hot, idle: 60), candidate(3, .frozen, idle: 659),
            candidate(4, .frozen, idle: 660), candidate(5, .hot, idle: 9999, never: true),
        ]
        #expect(plan.decide(candidates, isMemoryShort: false) == [.freeze(app: 2), .stop(app: 4)])
    }

    @Test func `without a freezer and under memory pressure an idle app is stopped`() {
        let without = SleepPlan(limits: .init(canFreeze: false))
        #expect(without.decide([candidate(1, .hot, idle: 61)], isMemoryShort: false) == [.stop(app: 1)])
        let with = SleepPlan(limits: .init(canFreeze: true))
        #expect(with.decide([candidate(1, .hot, idle: 61)], isMemoryShort: true) == [.stop(app: 1)])
    }

    @Test func `frozen workers over their memory go, the longest unused first`() {
        let plan = SleepPlan(limits: .init(frozenFor: .seconds(600), frozenBytes: 100, canFreeze: true))
        let candidates = [
            candidate(1, .frozen, idle: 100, bytes: 60), candidate(2, .frozen, idle: 300, bytes: 60),
            candidate(3, .frozen, idle: 200, bytes: 30),
        ]
        #expect(plan.decide(candidates, isMemoryShort: false) == [.stop(app: 2)])
    }

    // MARK: - Logs

    @Test func `a flood of lines is cut and what was dropped is counted`() {
        var allowance = LogAllowance(bytesPerSecond: 100, burstBytes: 1000, now: .zero)
        for _ in 0..<10 { #expect(allowance.take(100, now: .zero) == .write(droppedBefore: 0)) }
        for _ in 0..<50 { #expect(allowance.take(100, now: .zero) == .drop) }
        #expect(allowance.take(100, now: .seconds(1)) == .drop)
        #expect(allowance.take(100, now: .seconds(3)) == .write(droppedBefore: 51))
    }

    @Test func `a worker that ran well ends a series of failures`() {
        var backoff = CrashBackoff()
        for _ in 0..<10 { _ = backoff.startFailed() }
        #expect(backoff.startFailed() == .seconds(120))
        #expect(backoff.exited(afterRunning: .seconds(31)) == nil)
        #expect(backoff.failures == 1)
    }
}
