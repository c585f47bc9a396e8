import TestSupport
import Daemon
import Testing

@Suite struct LoadPlanTests {
    private func limits(_ rate: Int? = 100, burst: Int = 1000) -> LoadPlan.Limits {
        var limits = LoadPlan.Limits()
        limits.writtenBytesPerSecond = rate
        limits.burstBytes = burst
        return limits
    }

    @Test func `an app that writes more than its allowance is stopped until it is paid`() {
        var plan = LoadPlan(limits: limits())
        #expect(plan.looked(.init(writtenBytes: 50), now: .zero) == [])
        // What it had written before the first look does not count.
        #expect(plan.looked(.init(writtenBytes: 1050), now: .milliseconds(10)) == [])
        #expect(plan.due == .milliseconds(30), "it is looked at again soon")
        #expect(plan.looked(.init(writtenBytes: 1200), now: .milliseconds(20)) == [.brake])
        #expect(plan.isBraked)
        #expect(plan.looked(.init(writtenBytes: 1200), now: .milliseconds(900)) == [])
        #expect(plan.looked(.init(writtenBytes: 1200), now: .milliseconds(1700)) == [.release])
        #expect(!plan.isBraked)
    }

    @Test func `an app is stopped for two seconds at most, however much it wrote`() {
        var plan = LoadPlan(limits: limits())
        _ = plan.looked(.init(), now: .zero)
        #expect(plan.looked(.init(writtenBytes: 1_000_000), now: .milliseconds(250)) == [.brake])
        #expect(plan.looked(.init(writtenBytes: 1_000_000), now: .milliseconds(2200)) == [])
        #expect(plan.looked(.init(writtenBytes: 1_000_000), now: .milliseconds(2250)) == [.release])
        // The rest of the debt stops it again at the next look.
        #expect(plan.looked(.init(writtenBytes: 1_000_000), now: .milliseconds(2270)) == [.brake])
        // After 8 s without writing, nothing is left of it.
        _ = plan.looked(.init(writtenBytes: 1_000_000), now: .seconds(20))
        #expect(plan.looked(.init(writtenBytes: 1_000_500), now: .seconds(21)) == [])
    }

    @Test func `an app that writes little by little is never stopped, and neither is one without a limit`() {
        for rate in [100, nil] {
            var plan = LoadPlan(limits: limits(rate))
            for second in 0..<100 {
                let usage = LoadPlan.Usage(writtenBytes: second * (rate == nil ? 1_000_000 : 99))
                #expect(plan.looked(usage, now: .seconds(second)) == [], "second \(second)")
            }
        }
    }

    @Test func `an app that uses much of the CPU yields, and gets its share when it is starved or done`() {
        var plan = LoadPlan(limits: limits())
        func look(_ cpu: Int, _ second: Int) -> [LoadPlan.Action] {
            plan.looked(.init(cpu: .milliseconds(cpu)), now: .seconds(second))
        }
        #expect(look(0, 0) == [])
        #expect(look(400, 1) == [])
        #expect(look(1000, 2) == [.yieldCPU])
        #expect(look(2000, 3) == [])
        // Somebody else wants the CPU, and it gets a tenth.
        #expect(look(2100, 4) == [.shareCPU])
        #expect(look(3100, 5) == [.yieldCPU])
        #expect(look(3100, 6) == [.shareCPU])
    }

    @Test func `an app yields after a quarter of a second, and for a second at least`() {
        var plan = LoadPlan(limits: limits())
        func look(_ cpu: Int, _ time: Int) -> [LoadPlan.Action] {
            plan.looked(.init(cpu: .milliseconds(cpu)), now: .milliseconds(time))
        }
        #expect(look(0, 0) == [])
        #expect(look(100, 200) == [])
        #expect(look(130, 250) == [.yieldCPU])
        // It does nothing from now on.
        #expect(look(130, 500) == [])
        #expect(look(130, 1200) == [])
        #expect(look(130, 1250) == [.shareCPU])
        #expect(!plan.yields)
    }

    @Test func `an app whose last worker used much begins with what the others leave`() {
        var plan = LoadPlan(limits: limits(), yields: true)
        #expect(plan.looked(.init(), now: .zero) == [])
        #expect(plan.looked(.init(cpu: .milliseconds(500)), now: .milliseconds(500)) == [])
        #expect(plan.looked(.init(cpu: .milliseconds(900)), now: .seconds(1)) == [])
        #expect(plan.looked(.init(cpu: .milliseconds(1000)), now: .seconds(2)) == [.shareCPU])
    }

    @Test func `output is read in bursts, and beyond them as fast as the pace`() {
        var pace = OutputPace(bytesPerSecond: 1000, burstBytes: 500, now: .zero)
        #expect(pace.took(500, now: .zero) == nil)
        #expect(pace.took(100, now: .zero) == .milliseconds(100))
        #expect(pace.took(100, now: .milliseconds(100)) == .milliseconds(100))
        // A pause that is too short is none.
        #expect(pace.took(103, now: .milliseconds(300)) == nil)
        #expect(pace.took(500, now: .seconds(10)) == nil)
        #expect(pace.took(1, now: .seconds(10)) == nil)
        #expect(pace.took(9, now: .seconds(10)) == .milliseconds(10))
    }

    @Test func `an app that does nothing is looked at once a second`() {
        var plan = LoadPlan()
        _ = plan.looked(.init(), now: .zero)
        _ = plan.looked(.init(), now: .milliseconds(250))
        #expect(plan.due == .milliseconds(1250))
        _ = plan.looked(.init(cpu: .milliseconds(10)), now: .milliseconds(1250))
        #expect(plan.due == .milliseconds(1500))
    }

    @Test(arguments: 0..<50)
    func `in the long run nobody writes more than its rate, whatever it does`(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        var plan = LoadPlan(limits: limits(1000, burst: 2000))
        var (now, written, longest) = (Uptime.zero, 0, Duration.zero)
        var stoppedAt: Uptime?
        for _ in 0..<5000 {
            if !plan.isBraked { written += Int.random(in: 0...100, using: &random) }
            now += .milliseconds(20)
            for action in plan.looked(.init(writtenBytes: written), now: now) {
                if action == .brake { stoppedAt = now }
                if action == .release, let since = stoppedAt { longest = max(longest, now - since) }
            }
        }
        #expect(longest <= .milliseconds(2040), "seed \(seed)")
        #expect(Double(written) <= 1000 * (now / .seconds(1)) * 1.1 + 2000, "seed \(seed)")
    }
}
