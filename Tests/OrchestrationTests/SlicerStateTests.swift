import Control
import Foundation
import Testing

@testable import Orchestration

@Suite("What the slicer decides")
struct SlicerStateTests {
    static let start = Date(timeIntervalSince1970: 1_800_000_000)

    @Test func `the first hosts get everything in equal shares`() throws {
        var state = SlicerState(policy: SlicerPolicy())
        #expect(try state.routes() == nil)
        for name in ["a", "b", "c"] { try state.hostOnline(Self.registration(name), now: Self.start) }
        let shares = try state.hostSummaries().map(\.share)
        #expect(shares.count == 3)
        for share in shares { #expect(abs(share - 1.0 / 3) < 0.01) }
    }

    @Test func `an app without any host waits for one`() throws {
        var state = SlicerState(policy: SlicerPolicy())
        let app = try ApplicationID(validating: "app")
        state.ask(app)
        #expect(try state.reconcile(now: Self.start) == [])
        try state.hostOnline(Self.registration("a"), now: Self.start)
        let actions = try state.reconcile(now: Self.start)
        guard case .assign(app, let decision) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(decision.cause == .first)
        #expect(try state.reconcile(now: Self.start) == [], "Nothing is begun twice.")
    }

    @Test func `planned moves wait while apps are unavailable`() throws {
        var state = try Self.cluster(hosts: ["a", "b", "c"], apps: 30)
        let lost = try HostID(validating: "a")
        let actions = state.hostLost(EndedLease(host: lost, term: 1), now: Self.start)
        #expect(!actions.isEmpty)
        try state.round([], now: Self.start)
        let failovers = try state.reconcile(now: Self.start)
        #expect(failovers.count > 2)
        #expect(state.refusesPlannedMoves)
        let app = try #require(state.apps.first { $0.value.host.rawValue == "b" }?.key)
        #expect(throws: MartletError.self) {
            try state.relocate(app, to: HostID(validating: "c"), now: Self.start)
        }
        try state.drain(HostID(validating: "b"), now: Self.start)
        try state.round([], now: Self.start)
        #expect(try state.reconcile(now: Self.start) == [])
    }

    @Test func `a failed request of a person is not tried again behind their back`() throws {
        var state = try Self.cluster(hosts: ["a", "b"], apps: 10)
        let (app, residence) = try #require(state.apps.first)
        let other = try HostID(validating: residence.host.rawValue == "a" ? "b" : "a")
        _ = try state.relocate(app, to: other, now: Self.start)
        try state.stayed(app, on: residence.host, epoch: residence.epoch, now: Self.start)
        let later = Self.start.addingTimeInterval(3600)
        try state.round([], now: later)
        #expect(try state.reconcile(now: later) == [])
    }

    @Test func `old news changes nothing`() throws {
        var state = try Self.cluster(hosts: ["a", "b"], apps: 1)
        let (app, residence) = try #require(state.apps.first)
        let other = try HostID(validating: residence.host.rawValue == "a" ? "b" : "a")
        state.placed(app, on: other, epoch: 5, isAwake: true)
        state.placed(app, on: residence.host, epoch: 4, isAwake: true)
        #expect(state.apps[app]?.host == other)
        // The lease of an earlier process of a host is over; the present one goes on.
        try state.hostOnline(Self.registration("a", term: 3), now: Self.start)
        _ = state.hostLost(EndedLease(host: try HostID(validating: "a"), term: 2), now: Self.start)
        #expect(state.member(try HostID(validating: "a"))?.state == .online)
    }

    @Test(arguments: 0..<UInt64(ProcessInfo.processInfo.environment["MARTLET_SOAK"] == "1" ? 100 : 6))
    func `whatever happens, every app ends where its slice is, on a host that is online`(seed: UInt64) throws
    {
        var random = SplitMix(state: seed)
        var state = SlicerState(policy: SlicerPolicy())
        var now = Self.start
        var pending: [(ApplicationID, PlacementDecision)] = []
        var terms: [String: Int] = [:]
        let names = ["a", "b", "c", "d"]
        var table: RouteTable?

        func check(_ actions: [SlicerAction]) throws {
            for case .assign(let app, let decision) in actions { pending.append((app, decision)) }
            #expect(state.plannedMoves <= state.policy.movesAtOnce + 1, "seed \(seed)")
            let copy = try JSONDecoder().decode(SlicerState.self, from: JSONEncoder().encode(state))
            #expect(copy == state, "seed \(seed)")
            let next = try state.renumber(from: table)
            if let old = table, let next {
                #expect(next.generation >= old.generation, "seed \(seed)")
                #expect(try old.applying(next.change(from: old)) == next, "seed \(seed)")
            }
            table = next
        }
        func register(_ name: String) throws {
            terms[name, default: 0] += 1
            try state.hostOnline(Self.registration(name, term: terms[name] ?? 1), now: now)
        }
        /// An app does what it was told; some moves fail.
        func answer(failing: Bool) throws {
            guard !pending.isEmpty else { return }
            let (app, decision) = pending.remove(at: Int.random(in: pending.indices, using: &random))
            guard let residence = state.apps[app] else { return }
            if failing, decision.cause.isPlanned {
                try state.stayed(app, on: residence.host, epoch: residence.epoch + 1, now: now)
            } else {
                state.placed(
                    app,
                    on: decision.destination.id,
                    epoch: residence.epoch + 1,
                    isAwake: true
                )
            }
        }

        for step in 0..<120 {
            now += Double.random(in: 0...5, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0: try register(names[Int.random(in: 0..<4, using: &random)])
            case 1:
                let name = names[Int.random(in: 0..<4, using: &random)]
                let host = try HostID(validating: name)
                try check(state.hostLost(EndedLease(host: host, term: terms[name] ?? 0), now: now))
                try state.round([], now: now)
            case 2:
                let name = names[Int.random(in: 0..<4, using: &random)]
                // Refusals are part of the game.
                try? state.drain(try HostID(validating: name), now: now)
            case 3:
                _ = try? state.undrain(
                    try HostID(validating: names[Int.random(in: 0..<4, using: &random)]),
                    now: now
                )
            case 4, 5: state.ask(try ApplicationID(validating: "app-\(step)"))
            case 6: try state.round([], now: now)
            default: try answer(failing: Int.random(in: 0..<3, using: &random) == 0)
            }
            try check(state.reconcile(now: now))
        }

        // Peace: every host is there, and every app does what it is told.
        for name in names {
            try register(name)
            _ = try? state.undrain(try HostID(validating: name), now: now)
        }
        for _ in 0..<200 {
            now += 600
            while !pending.isEmpty { try answer(failing: false) }
            let before = state.slices
            try state.round([], now: now)
            try check(state.reconcile(now: now))
            if state.slices == before, pending.isEmpty { break }
        }
        #expect(pending.isEmpty, "seed \(seed)")
        let routes = try #require(try state.routes())
        for (app, residence) in state.apps {
            #expect(residence.transit == nil, "seed \(seed): \(app) \(residence)")
            #expect(routes.host(of: app).id == residence.host, "seed \(seed)")
            #expect(routes.sliceOwner(of: app).id == residence.host, "seed \(seed)")
        }
    }

    @Test func `a round of a cluster with 3000 slices and 10000 apps is quick to write down`() throws {
        var state = SlicerState(policy: SlicerPolicy())
        for number in 0..<30 { try state.hostOnline(Self.registration("h\(number)"), now: Self.start) }
        for number in 0..<10_000 {
            let app = try ApplicationID(validating: "app-\(number)")
            let host = try #require(try state.routes()).sliceOwner(of: app).id
            if number % 100 == 0 { state.placed(app, on: host, epoch: 1, isAwake: false) }
        }
        let table = try #require(try state.routes())
        #expect(table.starts.count == 3000)
        let bytes = try JSONEncoder().encode(table).count
        #expect(bytes < 100_000, "Temporal refuses payloads above 2 MB, and a history has many.")
    }

    @Test
    func `a drained host stays empty through a new session, until it is started anew or given work again`()
        throws
    {
        var state = try Self.cluster(hosts: ["h1", "h2"], apps: 0)
        let host = try HostID(validating: "h1")
        func drain() throws {
            try state.drain(host, now: Self.start)
            for _ in 0..<100 where state.member(host)?.state != .drained {
                try state.round([], now: Self.start)
                _ = try state.reconcile(now: Self.start)
            }
            #expect(state.member(host)?.state == .drained)
        }
        try drain()
        try state.hostOnline(Self.registration("h1"), now: Self.start)
        #expect(state.member(host)?.state == .drained)
        try state.hostOnline(Self.registration("h1", term: 2), now: Self.start)
        #expect(state.member(host)?.state == .online)
        try drain()
        #expect(try state.undrain(host, now: Self.start) == [.undrained(host)])
        #expect(try state.undrain(host, now: Self.start) == [])
    }

    // MARK: - Parts

    static func registration(_ name: String, term: Int = 1) -> HostRegistration {
        guard let host = HostID(name) else { preconditionFailure("\(name) is no host's name") }
        return HostRegistration(
            host: host,
            incarnation: "\(name)-\(term)",
            peer: HostAddress(address: "127.0.0.1", port: 1),
            api: "http://127.0.0.1:1",
            ingress: HostAddress(address: "127.0.0.1", port: 2),
            capacity: 1_000_000,
            leaseTerm: term,
            lease: .standard,
            residents: []
        )
    }

    /// A cluster whose apps are where their slices are.
    static func cluster(hosts: [String], apps: Int) throws -> SlicerState {
        var state = SlicerState(policy: SlicerPolicy())
        for host in hosts { try state.hostOnline(registration(host), now: start) }
        for number in 0..<apps { state.ask(try ApplicationID(validating: "app-\(number)")) }
        for case .assign(let app, let decision) in try state.reconcile(now: start) {
            state.placed(app, on: decision.destination.id, epoch: 1, isAwake: true)
        }
        return state
    }
}

/// Steele, Lea and Flood: "Fast splittable pseudorandom number generators", 2014.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
