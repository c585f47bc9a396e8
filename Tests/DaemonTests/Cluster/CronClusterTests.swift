import Control
@testable import Daemon
import Foundation
import Testing

/// What the store knows of an app's jobs, alone.
struct CronRecordTests {
    private let job = CronJob(schedule: "0 4 * * *")

    @Test func `a slot is given once, and no earlier one after it`() {
        var record = CronRecord(epoch: 1, entries: [.init(job: job, lastSlot: CronSlot(rawValue: 5))])
        let given = [5, 7, 7, 6, 8].map { record.give(CronSlot(rawValue: $0), of: job) }
        #expect(given == [false, true, false, false, true])
        // One that was not written down is given too.
        let isFree = record.give(CronSlot(rawValue: 3), of: CronJob(schedule: "0 5 * * *"))
        #expect(isFree)
        #expect(record.jobs.count == 2)
    }

    @Test func `jobs of a new version keep the slots that were given`() {
        var record = CronRecord(epoch: 1, entries: [.init(job: job, lastSlot: CronSlot(rawValue: 50))])
        let other = CronJob(schedule: "0 5 * * *", path: "/x")
        record.take([
            .init(job: job, lastSlot: CronSlot(rawValue: 9)),
            .init(job: other, lastSlot: CronSlot(rawValue: 9)),
        ])
        #expect(record.entries.map(\.lastSlot.rawValue) == [50, 9])
        record.take([.init(job: other, lastSlot: CronSlot(rawValue: 77))])
        #expect(record.entries.map(\.lastSlot.rawValue) == [77])
    }
}

/// Jobs of apps that change hosts, with real workers and a store that the hosts share.
@Suite(.serialized) struct CronClusterTests {
    private static let app = [
        "main.ts": """
        import { database, serve } from "martlet";
        const db = database();
        db.exec("create table if not exists runs (what text, at text)");
        const insert = db.prepare("insert into runs values (?, ?)");
        const noted = (what: string) => (slot: Date) => { insert.run(what, slot.toISOString()); };
        export default serve({
          "CRON 0 4 * * *": noted("once"), "CRON 0 6 * * * skip": noted("skip"),
          "GET /runs": () => db.prepare("select what, at from runs order by rowid").all(),
        });
        """
    ]

    private let once = CronJob(schedule: "0 4 * * *")
    private let skip = CronJob(schedule: "0 6 * * *", catchUp: .skip)
    // Minutes since 1970 far in the future: 2160-02-18, 04:00 and 06:00 that day and the next.
    private let four = CronSlot(rawValue: 99_999_600)
    private let day = 24 * 60

    private func runs(_ member: ClusterFixture.Member) async throws -> [String] {
        let answer = try await member.send("GET", "/runs", to: "night")
        struct Run: Decodable { var what: String }
        return try JSONDecoder().decode([Run].self, from: Data(answer.body.utf8)).map(\.what)
    }

    @Test func `a host that takes a sleeping app knows its routes' jobs, and gives no slot again`()
        async throws
    {
        try await ClusterFixture.with(["a", "b"]) {
            $0.sleep.after = .milliseconds(200)
            $0.sleep.frozenFor = .zero
        } _: { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("night", Self.app)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            let first = await a.daemon.runCron(app.app, once, slot: four)
            #expect(first != nil && first?.error == nil, "\(first?.error ?? "")")
            try await HostFixture.wait("it sleeps") {
                try await a.daemon.application(app.app).state == .asleep
            }
            let move = try await cluster.move(app, from: a, to: b, epoch: 1)
            #expect(!move.quiesce.wasAwake)
            let status = try await b.daemon.application(app.app)
            #expect(status.state == .asleep)
            #expect(Set(status.cron.map(\.job)) == [once, skip])
            // The slot that the other host has given is not given again; the next one is, and wakes the app.
            #expect(await b.daemon.runCron(app.app, once, slot: four) == nil)
            #expect(await a.daemon.fireCron(at: CronSlot(rawValue: four.rawValue + day)).isEmpty)
            let next = await b.daemon.fireCron(at: CronSlot(rawValue: four.rawValue + day))
            #expect(next.map(\.job) == [once])
            try await HostFixture.wait("it has run") { try await runs(b).count == 2 }
            #expect(try await runs(b) == ["once", "once"])
        }
    }

    @Test func `after a failover missed slots are made up for once or skipped, and the lost host gives none`()
        async throws
    {
        try await ClusterFixture.with(["a", "b"], lease: .seconds(10)) { cluster in
            let (a, b) = (try cluster["a"], try cluster["b"])
            let app = try await cluster.specification("night", Self.app)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            #expect(await a.daemon.runCron(app.app, once, slot: four) != nil)
            let ended = try await cluster.endLease(of: a)
            try await cluster.adopt(app, on: b, epoch: 2, cause: .failover, ended: ["a": ended])
            try await cluster.publish([app.app: b], epoch: 2)
            // Three days later, at noon: both hosts look at the clock at the same time, twice.
            let noon = CronSlot(rawValue: four.rawValue + 3 * day + 8 * 60)
            for _ in 0..<2 {
                async let here = a.daemon.fireCron(at: noon)
                async let there = b.daemon.fireCron(at: noon)
                _ = await (here, there)
            }
            // And the lost host is asked to as if it believed that the app is its own.
            let late = CronSlot(rawValue: four.rawValue + 4 * day)
            #expect(await a.daemon.runCron(app.app, once, slot: late) == nil)
            #expect(await b.daemon.runCron(app.app, once, slot: late) != nil)
            #expect(await b.daemon.runCron(app.app, once, slot: late) == nil)
            try await HostFixture.wait("the missed one has run") { try await runs(b).count >= 3 }
            #expect(try await runs(b) == ["once", "once", "once"])
            let status = try await b.daemon.application(app.app).cron
            #expect(status.first { $0.job == skip }?.lastSlotAt == nil)
        }
    }
}
