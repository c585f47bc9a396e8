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
            let control = ControlProgram(cluster)
            try control.start()
            do {
                try await cluster.awaitHosts()
                for step in ["prepare", "follow", "cutOver", "quiesce", "adopt", "handOver", "remove"] {
                    try await Self.move(cluster, control, killingIn: step)
                }
            } catch {
                control.kill()
                throw error
            }
            control.kill()
        }
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
        store = cluster.store.location
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
