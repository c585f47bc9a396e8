import Daemon
import TestSupport
import Testing

@Suite struct LifeMachineTests {
    private let first = InstanceID(1)
    private let second = InstanceID(2)

    private func serving() -> LifeMachine {
        var machine = LifeMachine()
        _ = machine.handle(.requested, now: .zero)
        _ = machine.handle(.admitted(first), now: .zero)
        _ = machine.handle(.started(first), now: .zero)
        return machine
    }

    @Test func `the first request starts an asleep app and many more change nothing`() {
        var machine = LifeMachine()
        #expect(machine.handle(.requested, now: .zero) == [.enqueue])
        for _ in 0..<100 { #expect(machine.handle(.requested, now: .zero).isEmpty) }
        #expect(machine.handle(.admitted(first), now: .zero) == [.start(first)])
        #expect(machine.handle(.requested, now: .zero).isEmpty)
        #expect(machine.handle(.started(first), now: .zero) == [.leaveQueue, .forward(first)])
    }

    @Test func `an idle app is frozen and the next request thaws it`() {
        var machine = serving()
        #expect(machine.handle(.sleep(.frozen), now: .zero) == [.hold, .confirmIdle(first)])
        #expect(machine.handle(.confirmed(first, isIdle: true), now: .zero) == [.freeze(first)])
        #expect(machine.handle(.requested, now: .zero) == [.thaw(first)])
        #expect(machine.handle(.thawed(first), now: .zero) == [.forward(first)])
    }

    @Test func `a request that comes while the app is going to sleep keeps it awake`() {
        var machine = serving()
        _ = machine.handle(.sleep(.stopped), now: .zero)
        #expect(machine.handle(.requested, now: .zero) == [.forward(first)])
        // The answer to the check was already on its way.
        #expect(machine.handle(.confirmed(first, isIdle: true), now: .zero).isEmpty)
        #expect(machine.state == .serving(first, since: .zero))
    }

    @Test func `an app that turns out to be busy goes on`() {
        var machine = serving()
        _ = machine.handle(.sleep(.frozen), now: .zero)
        #expect(machine.handle(.confirmed(first, isIdle: false), now: .zero) == [.forward(first)])
    }

    @Test func `a request during the stop starts another worker once the first is gone`() {
        var machine = serving()
        _ = machine.handle(.sleep(.stopped), now: .zero)
        #expect(machine.handle(.confirmed(first, isIdle: true), now: .zero) == [.stop(first)])
        #expect(machine.handle(.requested, now: .zero).isEmpty)
        #expect(machine.handle(.stopped(first), now: .zero) == [.enqueue])
    }

    @Test func `a start that fails is reported and retried after a growing pause`() {
        var machine = LifeMachine()
        var now = Uptime.zero
        var pauses: [Duration] = []
        for number in 1...4 {
            _ = machine.handle(.requested, now: now)
            _ = machine.handle(.admitted(InstanceID(number)), now: now)
            let actions = machine.handle(.startFailed(InstanceID(number), "no"), now: now)
            guard case .backingOff(let until) = machine.state else {
                Issue.record("not backing off: \(machine.state)")
                return
            }
            #expect(actions == [.leaveQueue, .refuse("no", retryAfter: until - now)])
            #expect(machine.handle(.requested, now: now).isEmpty)
            pauses.append(until - now)
            now = until
            #expect(machine.handle(.timePassed, now: now) == [.hold])
        }
        #expect(pauses == [.seconds(1), .seconds(2), .seconds(4), .seconds(8)])
    }

    @Test func `two exits are forgiven and the third makes the app wait`() {
        var machine = LifeMachine()
        for number in 1...3 {
            let id = InstanceID(number)
            _ = machine.handle(.requested, now: .zero)
            _ = machine.handle(.admitted(id), now: .zero)
            _ = machine.handle(.started(id), now: .zero)
            let actions = machine.handle(.exited(id, "killed"), now: .zero)
            #expect(actions == (number < 3 ? [.hold] : [.refuse("killed", retryAfter: .seconds(1))]))
        }
        #expect(machine.lastFailure == "killed")
        #expect(machine.handle(.forgive, now: .zero) == [.hold])
    }

    @Test func `a new version takes over from every state`() {
        var asleep = LifeMachine()
        #expect(asleep.handle(.adopt(second), now: .zero) == [.forward(second)])
        var running = serving()
        #expect(running.handle(.adopt(second), now: .zero) == [.forward(second), .retire(first)])
        var starting = LifeMachine()
        _ = starting.handle(.requested, now: .zero)
        _ = starting.handle(.admitted(first), now: .zero)
        #expect(starting.handle(.adopt(second), now: .zero) == [.forward(second), .leaveQueue])
        // The start that was under way comes to its end, and is not wanted any more.
        #expect(starting.handle(.started(first), now: .zero) == [.retire(first)])
        #expect(starting.state == .serving(second, since: .zero))
    }

    @Test func `a full queue turns requests away and the next one tries again`() {
        var machine = LifeMachine()
        _ = machine.handle(.requested, now: .zero)
        let actions = machine.handle(.refused, now: .zero)
        #expect(actions.last == .hold)
        #expect(machine.handle(.requested, now: .zero) == [.enqueue])
    }

    @Test func `a closed app retires its worker and any that comes late`() {
        var machine = serving()
        #expect(machine.handle(.close, now: .zero) == [.retire(first)])
        #expect(machine.handle(.requested, now: .zero).isEmpty)
        #expect(machine.handle(.adopt(second), now: .zero) == [.retire(second)])
    }

    /// Plays the host with any order of events, and checks that it never has two workers of an app's own, that each
    /// place in the queue is given back, and that a waiting request is always served in the end.
    @Test(arguments: 0..<200)
    func `any order of events leaves one worker and no forgotten request`(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        var world = World()
        for _ in 0..<300 { world.step(using: &random) }
        world.settle()
        #expect(world.problems.isEmpty, "seed \(seed): \(world.problems)")
    }
}

/// A host without processes: what the machine orders happens at a random later time.
private struct World {
    var machine = LifeMachine()
    var now = Uptime.zero
    var pending: [LifeMachine.Event] = []
    var alive: Set<InstanceID> = []
    var route = Route.hold
    var isRequestWaiting = false
    var isTold = false
    var hasSlot = false
    var next = 1
    var problems: [String] = []

    enum Route: Equatable {
        case hold
        case forward(InstanceID)
        case refuse
    }

    mutating func step(using random: inout some RandomNumberGenerator) {
        now += .milliseconds(Int.random(in: 0...2000, using: &random))
        switch Int.random(in: 0..<12, using: &random) {
        case 0...3: request()
        case 4: give(.sleep(Bool.random(using: &random) ? .frozen : .stopped))
        case 5: give(.timePassed)
        case 6:
            if let victim = alive.randomElement(using: &random) { exit(victim) }
        case 7:
            let id = take()
            alive.insert(id)
            give(.adopt(id))
        default:
            guard !pending.isEmpty else { return }
            deliver(pending.remove(at: Int.random(in: 0..<pending.count, using: &random)), using: &random)
        }
    }

    /// Lets everything come to its end: a request that waits must be answered.
    mutating func settle() {
        var random = SeededGenerator(seed: 1)
        for _ in 0..<200 {
            now += .seconds(300)
            give(.timePassed)
            while !pending.isEmpty { deliver(pending.removeFirst(), using: &random, alwaysWorks: true) }
        }
        if isRequestWaiting { problems.append("a request waits for ever in \(machine.state)") }
        if hasSlot { problems.append("a place in the queue is never given back in \(machine.state)") }
        let own = alive.filter { $0 == machine.worker }
        if alive.count > own.count { problems.append("workers are left over: \(alive), own \(own)") }
    }

    private mutating func request() {
        switch route {
        case .forward(let id) where alive.contains(id): return
        case .refuse: return
        case .hold, .forward:
            isRequestWaiting = true
            guard !isTold else { return }
            isTold = true
            pending.append(.requested)
        }
    }

    private mutating func exit(_ id: InstanceID) {
        alive.remove(id)
        pending.removeAll { event in
            switch event {
            case .stopped(id), .freezeFailed(id), .thawed(id): true
            default: false
            }
        }
        pending.append(.exited(id, "killed"))
    }

    private mutating func deliver(
        _ event: LifeMachine.Event,
        using random: inout some RandomNumberGenerator,
        alwaysWorks: Bool = false
    ) {
        switch event {
        case .started(let id) where !alwaysWorks && Int.random(in: 0..<4, using: &random) == 0:
            alive.remove(id)
            give(.startFailed(id, "no"))
        case .confirmed(let id, _):
            give(.confirmed(id, isIdle: !isRequestWaiting))
        case .stopped(let id):
            alive.remove(id)
            give(event)
        default: give(event)
        }
    }

    private mutating func take() -> InstanceID {
        defer { next += 1 }
        return InstanceID(next)
    }

    private mutating func give(_ event: LifeMachine.Event) {
        for action in machine.handle(event, now: now) { perform(action) }
    }

    private mutating func perform(_ action: LifeMachine.Action) {
        switch action {
        case .hold:
            route = .hold
            if isTold { give(.requested) }
        case .forward(let id):
            route = .forward(id)
            isTold = false
            if alive.contains(id) { isRequestWaiting = false } else { request() }
        case .refuse:
            route = .refuse
            isTold = false
            isRequestWaiting = false
        case .turnAway:
            isTold = false
            isRequestWaiting = false
        case .retrySoon(let id): pending.append(.retry(id))
        case .enqueue:
            hasSlot = true
            pending.append(.admitted(take()))
        case .leaveQueue: hasSlot = false
        case .start(let id):
            alive.insert(id)
            pending.append(.started(id))
        case .confirmIdle(let id): pending.append(.confirmed(id, isIdle: true))
        case .freeze, .thaw:
            if case .thaw(let id) = action, alive.contains(id) { pending.append(.thawed(id)) }
        case .stop(let id), .retire(let id): if alive.contains(id) { pending.append(.stopped(id)) }
        }
    }
}
