import Control
import Foundation
import Storage
import Synchronization
import Temporal
import TemporalTesting
import Testing

@testable import Orchestration

@Suite("Control that is killed", .serialized, .timeLimit(.minutes(5)))
struct KilledControlTests {
    @Test func `a move goes on, once, in whatever step control is killed`() async throws {
        try await ClusterFixture.with(hosts: 2, runsControl: false) { cluster in
            try await Self.withControl(cluster) { control in
                for step in ["prepare", "follow", "cutOver", "quiesce", "adopt", "handOver", "remove"] {
                    try await Self.move(cluster, control, killingIn: step)
                }
            }
        }
    }

    @Test func `a deployment goes on, once, in whatever step control is killed`() async throws {
        try await ClusterFixture.with(hosts: 2, runsControl: false) { cluster in
            try await Self.withControl(cluster) { control in
                for step in ["prepare", "adopt"] {
                    try await Self.deploy(cluster, control, killingIn: step, isFirst: true)
                }
                for step in ["prepare", "check", "start", "retire"] {
                    try await Self.deploy(cluster, control, killingIn: step, isFirst: false)
                }
            }
        }
    }

    @Test func `a failover goes on, once, in whatever step control is killed`() async throws {
        for step in ["watch", "revoke", "adopt"] {
            try await ClusterFixture.with(hosts: 2, lease: ClusterFixture.attentive, runsControl: false) {
                cluster in
                try await Self.withControl(cluster) { control in
                    try await Self.failOver(cluster, control, killingIn: step)
                }
            }
        }
    }

    private static func withControl(
        _ cluster: ClusterFixture,
        _ body: (ControlProgram) async throws -> Void
    ) async throws {
        let control = ControlProgram(cluster)
        try control.start()
        do {
            try await cluster.awaitHosts()
            try await body(control)
        } catch {
            control.kill()
            throw error
        }
        control.kill()
    }

    private static func deploy(
        _ cluster: ClusterFixture,
        _ control: ControlProgram,
        killingIn step: String,
        isFirst: Bool
    ) async throws {
        let app = try ApplicationID(validating: "\(isFirst ? "first" : "next")-\(step)")
        if !isFirst { try await cluster.deploy(app.rawValue) }
        for host in cluster.hosts {
            host.before("\(step) \(app)") {
                control.kill()
                try control.start()
            }
        }
        let before = cluster.hosts.flatMap(\.orders)
        let deployment = try await cluster.deploy(app.rawValue, content: "of \(app)")
        let orders = cluster.hosts.flatMap(\.orders).filter { $0.hasSuffix(" \(app)") }
        let steps = isFirst ? ["prepare", "adopt"] : ["prepare", "check", "start", "retire"]
        for name in steps {
            let earlier = before.count { $0 == "\(name) \(app)" }
            #expect(orders.count { $0 == "\(name) \(app)" } == earlier + 1, "\(step): \(orders)")
        }
        let state = try await cluster.service.state(of: app)
        #expect(state.version == deployment.version, "\(step)")
        #expect(state.operations.first?.state == .done, "\(step)")
        let placement = try await cluster.placement(of: app)
        #expect(cluster.servers(of: app) == [placement.host.id: 1], "\(step)")
    }

    /// Control is killed while it watches the lease, when it has just revoked it, and while the other host adopts.
    private static func failOver(
        _ cluster: ClusterFixture,
        _ control: ControlProgram,
        killingIn step: String
    ) async throws {
        let app = try ApplicationID(validating: "in-\(step)")
        try await cluster.deploy(app.rawValue)
        let lost = try #require(cluster.host(try await cluster.placement(of: app).host.id))
        let other = try cluster.otherHost(than: lost.id)
        _ = try await Lease.take(
            holder: lost.id.rawValue,
            duration: .seconds(3),
            margin: .milliseconds(500),
            process: "test",
            store: cluster.store,
            clock: ContinuousClock()
        )
        other.before("adopt \(app)") {
            guard step == "adopt" else { return }
            control.kill()
            try control.start()
        }
        lost.die()
        if step == "watch" {
            // The sign of life is missed after 3 s, and then the lease is watched for half its time.
            try await cluster.until("the lease is watched") {
                let run: WorkflowHandle<Nothing> = cluster.client.handle(
                    id: ClusterNames.workflow(of: lost.id)
                )
                let history = String(decoding: try await run.history().json(), as: UTF8.self)
                return history.contains(ControlActivities.endLease.name)
            }
        } else if step == "revoke" {
            let record = StoredRecord<LeaseRecord>(
                key: try Lease<ContinuousClock>.key(of: lost.id.rawValue),
                store: cluster.store
            )
            try await cluster.until("the lease is revoked") {
                try await record.read()?.value.isRevoked == true
            }
        }
        if step != "adopt" {
            control.kill()
            try control.start()
        }
        try await cluster.until("\(app) is on the other host") {
            try await cluster.placement(of: app).host.id == other.id
        }
        #expect(other.epoch(of: app) == 2, "\(step)")
        #expect(other.orders.count { $0 == "adopt \(app)" } == 1, "\(step): \(other.orders)")
        let newest = try await cluster.service.state(of: app).operations.first
        #expect(newest?.kind == .failover, "\(step): \(String(describing: newest))")
    }

    private static func move(
        _ cluster: ClusterFixture,
        _ control: ControlProgram,
        killingIn step: String
    ) async throws {
        let app = try ApplicationID(validating: "in-\(step.lowercased())")
        try await cluster.deploy(app.rawValue)
        let before = try await cluster.placement(of: app)
        let target = try cluster.otherHost(than: before.host.id)
        for host in cluster.hosts {
            host.before("\(step) \(app)") {
                control.kill()
                try control.start()
            }
        }
        let record = try await cluster.service.move(app, to: target.id) { _ in }
        #expect(record.state == .done, "\(step): \(record)")
        #expect(cluster.servers(of: app) == [target.id: 2], "\(step)")
        let adoptions = cluster.hosts.flatMap(\.orders).filter { $0 == "adopt \(app)" }
        #expect(adoptions.count == 2, "The first placement, and the move: \(adoptions)")
        try await cluster.until("the slicer knows where \(app) is") {
            try await cluster.service.residences()[app]?.destination == nil
        }
    }
}

/// `martlet control` as a process, which can be killed.
final class ControlProgram: Sendable {
    private let folder: URL
    private let temporal: String
    private let store: String
    private let process = Mutex<Process?>(nil)

    init(_ cluster: ClusterFixture) {
        folder = cluster.server.folder.appending(path: "control")
        temporal = "\(cluster.server.host):\(cluster.server.port)"
        store = cluster.server.folder.appending(path: "store").path
    }

    func start() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let secret = folder.appending(path: "secret")
        try Data("0123456789abcdef0123456789abcdef".utf8).write(to: secret)
        let process = Process()
        process.executableURL = Bundle.main.executableURL?.deletingLastPathComponent().appending(
            path: "martlet"
        )
        process.arguments = [
            "control", "--data", folder.path, "--store", store, "--temporal", temporal, "--secret-file",
            secret.path, "--port", "0", "--no-config", "--round", "500ms",
        ]
        process.environment = ["PATH": "/usr/bin:/bin", "HOME": folder.path]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process.withLock { $0 = process }
    }

    func kill() {
        process.withLock { process in
            guard let running = process else { return }
            Foundation.kill(running.processIdentifier, SIGKILL)
            running.waitUntilExit()
            process = nil
        }
    }
}
