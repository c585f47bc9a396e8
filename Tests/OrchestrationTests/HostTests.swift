import ClusterContract
import Control
import Foundation
import Temporal
import Testing

@testable import Orchestration

@Suite("Hosts of a cluster", .serialized, .timeLimit(.minutes(5)))
struct HostTests {
    @Test func `apps of a host that is lost go to the others`() async throws {
        try await ClusterFixture.with(lease: ClusterFixture.attentive) { cluster in
            for number in 1...12 { try await cluster.deploy("app-\(number)") }
            let app = try ApplicationID(validating: "app-1")
            let lost = try #require(cluster.host(try await cluster.placement(of: app).host.id))
            let doomed = lost.serving.keys.sorted()
            lost.die()
            for app in doomed {
                try await cluster.until("\(app) is elsewhere") {
                    try await cluster.placement(of: app).host.id != lost.id
                }
                let after = try await cluster.placement(of: app)
                #expect(after.epoch > 1)
                #expect(cluster.host(after.host.id)?.epoch(of: app) == after.epoch)
            }
            try await cluster.until("the host is listed as lost") {
                try await cluster.service.hosts().first { $0.id == lost.id }?.state == .lost
            }
            let summary = try #require(try await cluster.service.hosts().first { $0.id == lost.id })
            #expect(summary.slices == 0)
            #expect(summary.apps == 0)
        }
    }

    @Test func `a drained host is empty and may leave`() async throws {
        try await ClusterFixture.with { cluster in
            for number in 1...10 { try await cluster.deploy("app-\(number)") }
            let host = cluster.hosts[0]
            try await cluster.service.drain(host.id)
            try await cluster.until("the host is drained") {
                try await cluster.service.hosts().first { $0.id == host.id }?.state == .drained
            }
            #expect(host.serving == [:])
            let total = cluster.hosts.reduce(0) { $0 + $1.serving.count }
            #expect(total == 10)
            try await cluster.client.handle(for: HostWorkflow.self, id: ClusterNames.workflow(of: host.id))
                .signal(
                    HostWorkflowContract.leave,
                    input: HostLeave(incarnation: host.registration.incarnation)
                )
            try await cluster.until("the host has left") {
                try await cluster.service.hosts().allSatisfy { $0.id != host.id }
            }
        }
    }

    @Test func `the last host cannot be drained`() async throws {
        try await ClusterFixture.with(hosts: 1) { cluster in
            await #expect { try await cluster.service.drain(cluster.hosts[0].id) } throws: {
                ($0 as? MartletError)?.code == .conflict
            }
        }
    }
}
