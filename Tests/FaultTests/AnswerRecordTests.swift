import Testing

/// The judge of the other tests must find what is wrong.
@Suite struct AnswerRecordTests {
    private let start = ContinuousClock.now

    private func answer(
        _ host: String,
        epoch: Int,
        from begin: Int,
        to end: Int,
        writes row: String? = nil,
        reads other: String = "none",
        body: String = "1"
    ) -> Answer {
        Answer(
            app: "a",
            isWrite: row != nil,
            row: row ?? other,
            status: 200,
            body: body,
            host: host,
            epoch: epoch,
            begin: start + .milliseconds(begin),
            end: start + .milliseconds(end)
        )
    }

    private func record(_ answers: Answer...) -> AnswerRecord {
        var record = AnswerRecord()
        for answer in answers { record.add(answer) }
        return record
    }

    @Test func `a move contradicts nothing, also when answers overlap`() {
        let moved = record(
            answer("h1", epoch: 1, from: 0, to: 10),
            answer("h1", epoch: 1, from: 8, to: 30),
            answer("h2", epoch: 2, from: 12, to: 20),
            answer("h2", epoch: 2, from: 31, to: 32)
        )
        #expect(moved.contradictions() == [])
        #expect(moved.longestPause("a") == .milliseconds(10))
    }

    @Test func `two hosts under one epoch are found`() {
        let both = record(
            answer("h1", epoch: 1, from: 0, to: 1),
            answer("h2", epoch: 1, from: 5, to: 6)
        )
        #expect(both.contradictions().count == 1)
    }

    @Test func `an answer of an earlier epoch after one of a later epoch is found`() {
        let zombie = record(
            answer("h1", epoch: 1, from: 0, to: 1),
            answer("h2", epoch: 2, from: 5, to: 6),
            answer("h1", epoch: 1, from: 7, to: 8)
        )
        #expect(zombie.contradictions().count == 1)
    }

    @Test func `a read that misses an acknowledged row is found`() {
        let stale = record(
            answer("h1", epoch: 1, from: 0, to: 5, writes: "x", body: "kept"),
            answer("h1", epoch: 1, from: 2, to: 9, reads: "x", body: "0"),
            answer("h2", epoch: 2, from: 6, to: 9, reads: "x", body: "0")
        )
        #expect(stale.staleReads("a").count == 1)
        #expect(stale.acknowledged("a") == ["x"])
    }
}
