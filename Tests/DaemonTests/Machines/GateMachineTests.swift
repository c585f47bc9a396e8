@testable import Daemon
import Foundation
import Storage
import TestSupport
import Testing

@Suite struct GateQueueTests {
    @Test func `who joins while a round runs waits for the next, and one runs at a time`() {
        for seed in UInt64(0)..<200 {
            var random = SeededGenerator(seed: seed)
            var queue = GateQueue<Int>(limit: 1000)
            var running: [Int]?
            var (joined, released) = (0, 0)
            var starts = 0
            for _ in 0..<300 {
                if Bool.random(using: &random) {
                    let answer = queue.join(joined)
                    joined += 1
                    if answer == .begin {
                        #expect(running == nil, "seed \(seed)")
                        starts += 1
                        running = queue.nextRound()
                        #expect(running == [joined - 1], "seed \(seed)")
                    } else {
                        #expect(running != nil && answer == .wait, "seed \(seed)")
                    }
                } else if let round = running {
                    #expect(round == Array(released..<released + round.count), "seed \(seed)")
                    released += round.count
                    running = queue.nextRound()
                }
            }
            while let round = running {
                released += round.count
                running = queue.nextRound()
            }
            #expect(released == joined && starts > 0, "seed \(seed)")
        }
    }

    @Test func `a full queue refuses`() {
        var queue = GateQueue<Int>(limit: 2)
        #expect([queue.join(1), queue.join(2), queue.join(3)] == [.begin, .wait, .refused])
    }
}

@Suite struct PlacementPlanTests {
    private func owner(_ epoch: Int, _ holder: String) -> OwnerRecord {
        OwnerRecord(epoch: epoch, holder: holder, term: 1, isReleased: false, claim: "c")
    }

    private func plan(
        _ owner: OwnerRecord?,
        local: Int?,
        hasData: Bool = true,
        store: String = "s",
        ordered: Int? = nil
    ) -> PlacementPlan {
        PlacementPlan.decide(
            owner: owner,
            local: local.map { LocalPlacement(epoch: $0, store: "s") },
            hasData: hasData,
            holder: "me",
            store: store,
            orderedEpoch: ordered
        )
    }

    @Test func `data is used where it is the newest, and restored in every other case`() {
        #expect(plan(nil, local: nil) == .begin)
        #expect(plan(nil, local: 4) == .begin)
        #expect(plan(owner(4, "me"), local: 4) == .goOn(epoch: 4))
        #expect(plan(owner(4, "me"), local: 4, ordered: 4) == .goOn(epoch: 4))
        #expect(plan(owner(4, "me"), local: 4, ordered: 5) == .takeNext(keeping: 4))
        #expect(plan(owner(5, "me"), local: 4) == .restore(newest: 5))
        #expect(plan(owner(4, "me"), local: nil) == .restore(newest: 4))
        #expect(plan(owner(4, "me"), local: 4, hasData: false) == .restore(newest: 4))
        #expect(plan(owner(4, "other"), local: 4) == .restore(newest: 4))
        #expect(plan(owner(4, "me"), local: 4, store: "another") == .restore(newest: 4))
    }
}
