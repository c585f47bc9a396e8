import Control
@testable import Daemon
import Foundation
import TestSupport
import Testing

/// The plan alone.
struct CronPlanTests {
    private let job = CronJob(schedule: "*/10 * * * *")

    private func plan(_ catchUp: CronJob.CatchUp, last: Int) -> CronPlan {
        var job = job
        job.catchUp = catchUp
        return CronPlan(entries: [.init(job: job, lastSlot: CronSlot(rawValue: last))])
    }

    @Test func `a slot is due once`() {
        var plan = plan(.once, last: 5)
        #expect(plan.due(at: CronSlot(rawValue: 9)).isEmpty)
        #expect(plan.due(at: CronSlot(rawValue: 10)).map(\.slot.rawValue) == [10])
        #expect(plan.due(at: CronSlot(rawValue: 10)).isEmpty)
        #expect(plan.due(at: CronSlot(rawValue: 19)).isEmpty)
        #expect(plan.due(at: CronSlot(rawValue: 20)).map(\.runs) == [true])
    }

    @Test func `missed slots are made up for by one run, or skipped`() {
        var once = plan(.once, last: 5)
        let made = once.due(at: CronSlot(rawValue: 1009))
        #expect(made.map(\.slot.rawValue) == [1000] && made.map(\.runs) == [true])
        var skip = plan(.skip, last: 5)
        let skipped = skip.due(at: CronSlot(rawValue: 1009))
        #expect(skipped.map(\.slot.rawValue) == [1000] && skipped.map(\.runs) == [false])
        #expect(skip.due(at: CronSlot(rawValue: 1010)).map(\.runs) == [true])
        // A host that was busy for a moment was not down.
        #expect(skip.due(at: CronSlot(rawValue: 1021)).map(\.runs) == [true])
    }

    @Test func `a clock that is set back runs nothing again`() {
        var plan = plan(.once, last: 100)
        #expect(plan.due(at: CronSlot(rawValue: 90)).isEmpty)
        #expect(plan.due(at: CronSlot(rawValue: 100)).isEmpty)
    }

    @Test func `a new version keeps the slots of its jobs and starts new ones now`() {
        let other = CronJob(schedule: "0 0 * * *", path: "/x")
        let plan = plan(.once, last: 40).replaced(by: [job, other, other], at: CronSlot(rawValue: 77))
        #expect(plan.entries.map(\.lastSlot.rawValue) == [40, 77])
        #expect(
            plan.replaced(by: [other], at: CronSlot(rawValue: 99)).entries.map(\.lastSlot.rawValue) == [77]
        )
    }
}

/// Jobs on a host with real workers.
@Suite(.serialized) struct CronTests {
    /// Writes down what ran, by the framework's route and by a request of martlet.json.
    private static let app = [
        "martlet.json":
            #"{ "cron": [{ "schedule": "0 5 * * *", "path": "/sweep?a=1", "catchUp": "skip" }] }"#,
        "main.ts": """
        import { database, serve } from "martlet";
        const db = database();
        db.exec("create table if not exists runs (what text, at text)");
        const insert = db.prepare("insert into runs values (?, ?)");
        function nightly(slot: Date) { insert.run("route", slot.toISOString()); }
        async function slow() { await new Promise((done) => setTimeout(done, 1500)); insert.run("slow", ""); }
        function bad() { throw new Error("no night is long enough"); }
        function sweep(request: Request) {
          insert.run(request.headers.get("x-martlet-cron") ?? "nobody", new URL(request.url).search);
          return null;
        }
        export default serve({
          "CRON 0 4 * * *": nightly, "CRON 0 6 * * * skip": bad, "CRON 0 7 * * *": slow, "POST /sweep": sweep,
          "GET /runs": () => db.prepare("select what, at from runs").all(),
        });
        """,
    ]

    private let night = CronJob(schedule: "0 4 * * *")
    private let request = CronJob(schedule: "0 5 * * *", path: "/sweep?a=1", catchUp: .skip)
    private let id = ApplicationID("night")

    @Test func `jobs wake an app, run once for a slot, and are shown`() async throws {
        try await HostFixture.with {
            $0.sleep.after = .milliseconds(100)
            $0.sleep.frozenFor = .zero
        } _: { host in
            let id = try #require(id)
            try await host.deploy("night", Self.app)
            try await host.wait("night", for: .asleep)
            // Far enough in the future to be after the deployment, whenever the test runs.
            let slot = CronSlot(rawValue: 100_000_000)
            let runs = await withTaskGroup(of: StateStore.CronRun?.self) { group in
                for _ in 0..<8 { group.addTask { await host.daemon.runCron(id, self.night, slot: slot) } }
                return await group.reduce(into: [StateStore.CronRun]()) { if let run = $1 { $0.append(run) } }
            }
            #expect(runs.count == 1)
            #expect(runs.first?.error == nil)
            #expect(await host.daemon.runCron(id, night, slot: slot) == nil)
            #expect(await host.daemon.runCron(id, night, slot: CronSlot(rawValue: 99_999_999)) == nil)
            let second = await host.daemon.runCron(id, request, slot: slot)
            #expect(second != nil && second?.error == nil, "\(second?.error ?? "")")
            let forged = try await host.send("POST", "/sweep?b=2", to: "night")
            #expect(forged.status < 500)
            let answer = try await host.send("GET", "/runs", to: "night").body
            #expect(
                answer
                    == #"[{"what":"route","at":"2160-02-18T10:40:00.000Z"},{"what":"0 5 * * *","at":"?a=1"},{"what":"nobody","at":"?b=2"}]"#
            )
            let status = try await host.daemon.application(id)
            #expect(
                Set(status.cron.map(\.job.schedule)) == ["0 4 * * *", "0 5 * * *", "0 6 * * *", "0 7 * * *"]
            )
            let shown = try #require(status.cron.first { $0.job == night })
            #expect(shown.lastSlotAt == slot.date && shown.lastMilliseconds != nil && !shown.isRunning)
            #expect(shown.nextAt != nil)
        }
    }

    @Test func `a long job keeps its app awake, and one that fails is noted`() async throws {
        try await HostFixture.with {
            $0.sleep.after = .milliseconds(100)
            $0.sleep.frozenFor = .zero
            $0.timeouts.waitUntil = .zero
        } _: { host in
            let id = try #require(id)
            try await host.deploy("night", Self.app)
            let slot = CronSlot(rawValue: 100_000_000)
            let slow = await host.daemon.runCron(id, CronJob(schedule: "0 7 * * *"), slot: slot)
            #expect(slow != nil && slow?.error == nil, "\(slow?.error ?? "")")
            let bad = await host.daemon.runCron(
                id,
                CronJob(schedule: "0 6 * * *", catchUp: .skip),
                slot: slot
            )
            #expect(bad?.error == "no night is long enough")
            let status = try await host.daemon.application(id).cron
            #expect(status.contains { $0.lastError == "no night is long enough" })
            #expect(try await host.send("GET", "/runs", to: "night").body == #"[{"what":"slow","at":""}]"#)
        }
    }

    @Test func `missed slots are made up for once after a restart, and none runs twice`() async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let configuration = try HostFixture.configuration(folder)
        let slot = CronSlot(rawValue: 100_000_000)
        try await HostFixture.with(configuration, folder) { host in
            try await host.deploy("night", Self.app)
            #expect(await host.daemon.fireCron(at: CronSlot(Date())).isEmpty)
        }
        try await HostFixture.with(configuration, folder) { host in
            let started = await host.daemon.fireCron(at: slot)
            // The two jobs that catch up; the other two are noted as skipped.
            #expect(Set(started.map(\.job.schedule)) == ["0 4 * * *", "0 7 * * *"])
            try await HostFixture.wait("both have run") {
                let body = try await host.send("GET", "/runs", to: "night").body
                return body.contains("route") && body.contains("slow")
            }
        }
        try await HostFixture.with(configuration, folder) { host in
            #expect(await host.daemon.fireCron(at: slot).isEmpty)
            let body = try await host.send("GET", "/runs", to: "night").body
            #expect(body.components(separatedBy: "what").count == 3, "\(body)")
        }
    }
}
