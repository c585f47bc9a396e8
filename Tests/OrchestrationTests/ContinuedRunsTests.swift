import ClusterContract
import Control
import Foundation
import Temporal
import Testing

@testable import Orchestration

/// Entity workflows live for years, so they hand on to new runs of themselves: here after a few events instead of thousands,
/// on a real server, while messages come.
@Suite("Runs that go on as new ones", .serialized, .timeLimit(.minutes(5)))
struct ContinuedRunsTests {
    @Test func `an app, the slicer and a user forget nothing over many runs`() async throws {
        var timing = ClusterFixture.quick
        timing.historyEvents = 40
        try await ClusterFixture.with(hosts: 2, timing: timing) { cluster in
            let app = try ApplicationID(validating: "guestbook")
            let user = try UserID(validating: "ada")
            _ = try await cluster.service.setAccount(user, quotas: Account.Quotas(apps: 7))
            try await cluster.deploy("guestbook")
            for round in 0..<8 {
                async let variables: Void = cluster.service.setEnvironment(
                    [EnvironmentVariable(name: "KEY\(round)", value: "value", isSecret: false)],
                    of: app
                )
                async let token = cluster.service.addToken(to: user, name: "token \(round)")
                async let again = cluster.deploy("guestbook", content: "\(round)")
                let place = try await cluster.placement(of: app)
                let target = try cluster.otherHost(than: place.host.id)
                let record = try await cluster.service.move(app, to: target.id) { _ in }
                #expect(record.state == .done, "\(record)")
                _ = try await (variables, token, again)
            }
            let place = try await cluster.placement(of: app)
            #expect(cluster.servers(of: app) == [place.host.id: place.epoch])
            #expect(place.epoch >= 9)
            let shown = try await cluster.service.environment(of: app)
            #expect(shown.map(\.name) == (0..<8).map { "KEY\($0)" })
            let account = try #require(try await cluster.service.accounts().first { $0.id == user })
            #expect(account.quotas.apps == 7)
            #expect(account.tokens.count == 8)
            #expect(try await cluster.service.residences()[app]?.host == place.host.id)
            for id in [ClusterNames.workflow(of: app), ClusterNames.slicer, ClusterNames.workflow(of: user)] {
                let handle: WorkflowHandle<Nothing> = cluster.client.handle(id: id)
                let history = String(decoding: try await handle.history().json(), as: UTF8.self)
                #expect(history.contains("continuedExecutionRunId"), "\(id) has had one run alone")
            }
        }
    }
}
