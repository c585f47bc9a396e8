import ClusterContract
import Control
import Foundation
import Temporal
import Testing

@testable import Orchestration

/// Histories that were saved before: the code must still do the same with them.
///
/// `MARTLET_RECORD=1` saves them anew, for when a change is meant to be one that no running workflow can meet.
@Suite("Replays of saved histories", .serialized, .timeLimit(.minutes(5)))
struct ReplayTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(
        path: "Histories"
    )

    @Test(arguments: ["application", "slicer", "host", "user"])
    func `a workflow does again what its history says`(name: String) async throws {
        let json = try Data(contentsOf: Self.folder.appending(path: "\(name).json"))
        let history = try WorkflowHistory(workflowID: name, json: json)
        #expect(history.events.count > 10)
        try await WorkflowReplayer(workflows: ControlWorker.workflows).replay(history)
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["MARTLET_RECORD"] == "1"))
    func `histories are saved`() async throws {
        try await ClusterFixture.with(lease: ClusterFixture.attentive) { cluster in
            let app = try ApplicationID(validating: "guestbook")
            try await cluster.deploy("guestbook")
            try await cluster.deploy("guestbook", content: "2")
            _ = try await cluster.service.rollback(app, to: nil) { _ in }
            try await cluster.service.setEnvironment(
                [EnvironmentVariable(name: "KEY", value: "value", isSecret: true)],
                of: app
            )
            let before = try await cluster.placement(of: app)
            let target = try cluster.otherHost(than: before.host.id)
            for host in cluster.hosts { host.fail("adopt guestbook", .refused(.checkFailed)) }
            _ = try await cluster.service.move(app, to: target.id) { _ in }
            _ = try await cluster.service.move(app, to: target.id) { _ in }
            let user = try UserID(validating: "ada")
            _ = try await cluster.service.setAccount(user, quotas: Account.Quotas(apps: 3))
            let token = try await cluster.service.addToken(to: user, name: "laptop")
            try await cluster.service.removeToken(token.id, of: user)
            target.die()
            try await cluster.until("the app is elsewhere") {
                try await cluster.placement(of: app).host.id != target.id
            }
            let ids = [
                "application": ClusterNames.workflow(of: app), "slicer": ClusterNames.slicer,
                "host": ClusterNames.workflow(of: target.id), "user": ClusterNames.workflow(of: user),
            ]
            for (name, id) in ids {
                let handle: WorkflowHandle<Nothing> = cluster.client.handle(id: id)
                try await handle.history().json().write(to: Self.folder.appending(path: "\(name).json"))
            }
        }
    }
}
