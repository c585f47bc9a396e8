import ClusterContract
import Control
import Foundation
import Synchronization
import Temporal
import Testing

@testable import Orchestration

@Suite("Apps of a cluster", .serialized, .timeLimit(.minutes(5)))
struct ApplicationTests {
    @Test func `an app is deployed, changed, configured and deleted`() async throws {
        try await ClusterFixture.with { cluster in
            let app = try ApplicationID(validating: "guestbook")
            let first = try await cluster.deploy("guestbook")
            let placement = try await cluster.placement(of: app)
            #expect(placement.epoch == 1)
            #expect(cluster.servers(of: app) == [placement.host.id: 1])

            let second = try await cluster.deploy("guestbook", content: "2")
            #expect(second.previousVersion == first.version)
            let versions = try await cluster.service.versions(of: app)
            #expect(versions.map(\.id) == [second.version, first.version])

            let back = try await cluster.service.rollback(app, to: nil) { _ in }
            #expect(back.version == first.version)

            try await cluster.service.setEnvironment(
                [EnvironmentVariable(name: "KEY", value: "value", isSecret: true)],
                of: app
            )
            let variables = cluster.host(placement.host.id)?.environment(of: app) ?? []
            #expect(variables.map(\.name) == ["KEY"])
            #expect(!"\(variables)".contains("value"), "Secrets are sealed in histories.")
            let shown = try await cluster.service.environment(of: app)
            #expect(shown == [EnvironmentVariable(name: "KEY", value: nil, isSecret: true)])

            try await cluster.service.delete(app)
            await #expect { _ = try await cluster.service.application(app) } throws: {
                ($0 as? MartletError)?.code == .notFound
            }
            #expect(cluster.servers(of: app) == [:])
            try await cluster.deploy("guestbook", content: "3")
            #expect(cluster.servers(of: app).count == 1)
        }
    }

    @Test func `an app moves to the host that was asked for, step by step`() async throws {
        try await ClusterFixture.with { cluster in
            let app = try ApplicationID(validating: "guestbook")
            try await cluster.deploy("guestbook")
            let before = try await cluster.placement(of: app)
            let target = try cluster.otherHost(than: before.host.id)
            let record = try await cluster.service.move(app, to: target.id) { _ in }
            #expect(record.state == .done)
            #expect(
                record.steps.map(\.name)
                    == ["prepare", "follow", "cutOver", "remove"]
            )
            #expect(cluster.servers(of: app) == [target.id: 2])
            for host in cluster.hosts {
                try await cluster.until("\(host.id) knows where the app is") {
                    host.table?.host(of: app).id == target.id
                }
            }
            await #expect {
                _ = try await cluster.service.move(app, to: target.id) { _ in }
            } throws: { ($0 as? MartletError)?.code == .conflict }
            let nowhere = try HostID(validating: "nowhere")
            await #expect { _ = try await cluster.service.move(app, to: nowhere) { _ in } } throws: {
                ($0 as? MartletError)?.code == .notFound
            }
        }
    }

    @Test func `a host that takes no routes holds up none of the others, and gets the newest at last`()
        async throws
    {
        try await ClusterFixture.with(hosts: 3) { cluster in
            let app = try ApplicationID(validating: "guestbook")
            try await cluster.deploy("guestbook")
            let home = try await cluster.placement(of: app).host.id
            try await cluster.until("every host knows where the app is") {
                cluster.hosts.allSatisfy { $0.table?.host(of: app).id == home }
            }
            let deaf = try #require(cluster.hosts.last { $0.id != home })
            let others = cluster.hosts.filter { $0.id != deaf.id }
            let isHeard = Mutex(false)
            deaf.before("publish") {
                while !isHeard.withLock(\.self) { try await Task.sleep(for: .milliseconds(5)) }
            }
            for _ in 0..<2 {
                let before = try await cluster.placement(of: app).host.id
                let target = try #require(others.first { $0.id != before })
                _ = try await cluster.service.move(app, to: target.id) { _ in }
                try await cluster.until("the others know where the app is now") {
                    others.allSatisfy { $0.table?.host(of: app).id == target.id }
                }
            }
            #expect(try await cluster.placement(of: app).host.id == home)
            isHeard.withLock { $0 = true }
            let slicer: WorkflowHandle<Nothing> = cluster.client.handle(id: ClusterNames.slicer)
            let newest = try await slicer.query(SlicerContract.table).generation
            try await cluster.until("the last one knows it too") { (deaf.table?.generation ?? 0) >= newest }
            for host in cluster.hosts {
                let told = host.generations
                #expect(zip(told, told.dropFirst()).allSatisfy { $0 < $1 }, "\(host.id): \(told)")
            }
        }
    }

    @Test func `a move that fails in whatever step leaves one host that serves`() async throws {
        try await ClusterFixture.with(hosts: 2) { cluster in
            for step in ["prepare", "follow", "cutOver", "quiesce", "adopt", "handOver", "remove"] {
                for fault in [SimulatedHost.Fault.refused(.checkFailed), .lostAnswer(.checkFailed)] {
                    try await Self.failMove(cluster, step, fault)
                }
            }
        }
    }

    private static func failMove(
        _ cluster: ClusterFixture,
        _ step: String,
        _ fault: SimulatedHost.Fault
    ) async throws {
        let kind = fault == .refused(.checkFailed) ? "refused" : "lost"
        let app = try ApplicationID(validating: "\(step.lowercased())-\(kind)")
        try await cluster.deploy(app.rawValue)
        let before = try await cluster.placement(of: app)
        let target = try cluster.otherHost(than: before.host.id)
        for host in cluster.hosts { host.fail("\(step) \(app)", fault) }
        let record = try await cluster.service.move(app, to: target.id) { _ in }
        let after = try await cluster.placement(of: app)
        #expect(cluster.servers(of: app) == [after.host.id: after.epoch], "\(app)")
        let isLate =
            ["handOver", "remove"].contains(step) || (["adopt", "cutOver"].contains(step) && kind == "lost")
        #expect(record.state == (isLate ? .done : .undone), "\(app): \(record)")
        #expect(after.host.id == (isLate ? target.id : before.host.id), "\(app)")
        try await cluster.until("the slicer knows where \(app) is") {
            let residence = try await cluster.service.residences()[app]
            return residence?.host == after.host.id && residence?.epoch == after.epoch
                && residence?.destination == nil
        }
    }

    @Test func `a first deployment that fails leaves no app behind`() async throws {
        try await ClusterFixture.with(hosts: 1) { cluster in
            let app = try ApplicationID(validating: "guestbook")
            // Its first start is its check: there is no version that goes on when it fails.
            for fault in [SimulatedHost.Fault.refused(.checkFailed), .lostAnswer(.checkFailed)] {
                cluster.hosts[0].fail("adopt \(app)", fault)
                await #expect { try await cluster.deploy("guestbook") } throws: {
                    ($0 as? MartletError)?.code == .checkFailed
                }
                #expect(cluster.servers(of: app) == [:])
            }
            await #expect { _ = try await cluster.service.application(app) } throws: {
                ($0 as? MartletError)?.code == .notFound
            }
            try await cluster.deploy("guestbook")
            #expect(cluster.servers(of: app).count == 1)
        }
    }
}
