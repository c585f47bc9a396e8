import Control
@testable import Daemon
import Foundation
import TestSupport
import Testing

/// What a host reports of its apps, which a system app in a worker of its own keeps.
@Suite(.serialized) struct StatisticsTests {
    @Test func `the report of loads comes from the app of statistics, which nobody else reaches`()
        async throws
    {
        try await ClusterFixture.with(["a"]) {
            $0.cluster?.statisticsInterval = .milliseconds(200)
        } _: { cluster in
            let a = try cluster["a"]
            let app = try await cluster.specification("witness", Apps.witness)
            try await cluster.adopt(app, on: a)
            try await cluster.publish([app.app: a])
            for number in 1...10 {
                #expect(try await a.send("POST", "/?id=\(number)", to: "witness").status == 200)
            }
            // Statistics are of what was, so they are asked for until all of it has been counted.
            try await HostFixture.wait("ten requests are counted") {
                try await a.daemon.statistics.loads(of: 3_600_000).first?.requests == 10
            }
            let load = try #require(try await a.agent.status(StatusOrder()).apps.first)
            #expect(load.app == app.app)
            #expect(load.epoch == 1)
            #expect(load.isAwake)
            #expect(load.databaseBytes > 0)
            let all = try await a.daemon.statistics.loads(of: 3_600_000)
            #expect(all.map(\.app) == ["witness"])
            #expect(all.first?.requests == 10)
            #expect(all.first?.p99Microseconds ?? 0 >= all.first?.p50Microseconds ?? 0)
            #expect(all.first?.p50Microseconds ?? 0 > 0)
            #expect(all.first?.cpuMicroseconds ?? 0 > 0)
            #expect(try await a.send(to: "martlet-stats").status == 404)
        }
    }

    @Test func `a process's time is what the kernel says`() {
        let begin = ProcessTimes.microseconds(of: [getpid()])
        var sum = 0.0
        let end = ContinuousClock.now + .milliseconds(100)
        while ContinuousClock.now < end { sum += Double.random(in: 0...1) }
        #expect(ProcessTimes.microseconds(of: [getpid()]) > begin || sum < 0)
        #expect(ProcessTimes.microseconds(of: [-1]) == 0)
    }
}
