import ClusterContract
import Control
import Foundation
import Logging
import Storage
import Temporal
import TemporalTesting
import Testing

@testable import Orchestration

/// A real Temporal server, control with its workflows, and simulated hosts.
final class ClusterFixture: Sendable {
    let server: TestServer
    let client: TemporalClient
    let simulated = SimulatedStore()
    let hosts: [SimulatedHost]
    let service: ClusterService
    let store: FolderStore
    let timing: ApplicationTiming
    private let connection: TemporalConnection

    private init(
        server: TestServer,
        hosts: Int,
        lease: LeaseTerms,
        timing: ApplicationTiming
    ) async throws {
        self.server = server
        self.timing = timing
        connection = server.connection()
        client = TemporalClient(connection: connection)
        let (simulated, client) = (simulated, client)
        self.hosts = try (1...hosts).map { number in
            try SimulatedHost("h\(number)", store: simulated, lease: lease) {
                let slicer: WorkflowHandle<Nothing> = client.handle(id: ClusterNames.slicer)
                return try await slicer.query(SlicerContract.table)
            }
        }
        store = try await FolderStore(
            root: server.folder.appending(path: "store").path(percentEncoded: false)
        )
        service = ClusterService(
            client: client,
            store: store,
            secret: try ClusterSecret("0123456789abcdef0123456789abcdef"),
            timing: timing
        ) { "http://\($0).localhost/" }
    }

    /// Runs `body` with a cluster whose hosts are all online.
    ///
    /// `lease`: patient, unless the test is about the loss of a host. A simulated host has no lease in the store, so that one
    /// late sign of life on a busy machine would make it lost for good.
    static func with(
        hosts: Int = 3,
        lease: LeaseTerms = patient,
        timing: ApplicationTiming = quick,
        policy: SlicerPolicy = quickPolicy,
        runsControl: Bool = true,
        _ body: @escaping @Sendable (ClusterFixture) async throws -> Void
    ) async throws {
        try await TestServer.with { server in
            let fixture = try await ClusterFixture(
                server: server,
                hosts: hosts,
                lease: lease,
                timing: timing
            )
            try await withThrowingTaskGroup(of: Void.self) { group in
                let control = fixture.control(policy: policy)
                if runsControl { group.addTask { try await control.run() } }
                for host in fixture.hosts { group.addTask { try await fixture.worker(of: host).run() } }
                defer { group.cancelAll() }
                if runsControl { try await fixture.awaitHosts() }
                try await body(fixture)
            }
            await fixture.connection.close()
        }
    }

    static var patient: LeaseTerms { LeaseTerms(heartbeatMilliseconds: 60_000, leaseMilliseconds: 6000) }

    /// For tests about the loss of a host.
    static var attentive: LeaseTerms { LeaseTerms(heartbeatMilliseconds: 4000, leaseMilliseconds: 3000) }

    static var quick: ApplicationTiming {
        var timing = ApplicationTiming()
        timing.retry = 100
        return timing
    }

    static var quickPolicy: SlicerPolicy {
        var policy = SlicerPolicy()
        policy.roundMilliseconds = 500
        policy.retryMilliseconds = 500
        return policy
    }

    func control(policy: SlicerPolicy) -> ControlWorker {
        ControlWorker(
            connection: connection,
            store: store,
            policy: policy,
            timing: timing,
            logger: Logger(label: "test.control")
        )
    }

    func worker(of host: SimulatedHost) -> Worker {
        var options = WorkerOptions()
        options.maxHeartbeatThrottleInterval = .milliseconds(500)
        return Worker(
            connection: connection,
            taskQueue: ClusterNames.queue(of: host.id),
            activities: HostActivities.registrations(of: host),
            options: options,
            logger: Logger(label: "test.host")
        )
    }

    func register(_ host: SimulatedHost) async throws {
        try await client.signalWithStart(
            HostWorkflowContract.self,
            input: HostWorkflowInput(host: host.id),
            options: StartWorkflowOptions(
                id: ClusterNames.workflow(of: host.id),
                taskQueue: ClusterNames.controlQueue
            ),
            signal: HostWorkflowContract.register,
            signalInput: host.registration
        )
    }

    /// Brings all hosts into the cluster.
    func awaitHosts() async throws {
        try await awaitSlicer()
        for host in hosts { try await register(host) }
        try await until("every host is online") {
            try await service.hosts().filter { $0.state == .online }.count == hosts.count
        }
    }

    private func awaitSlicer() async throws {
        try await until("the slicer answers") {
            do {
                _ = try await service.hosts()
                return true
            } catch { return false }
        }
    }

    /// Waits until a condition holds; two minutes are far more than any of them needs.
    func until(_ what: String, _ condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(120)
        while ContinuousClock.now < deadline {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("it never came true that \(what)")
        throw CancellationError()
    }

    /// Deploys an archive with the given content; simulated hosts do not look into it.
    @discardableResult
    func deploy(_ name: String, content: String = "1") async throws -> Deployment {
        let file = server.folder.appending(path: UUID().uuidString)
        try Data(content.utf8).write(to: file)
        let upload = Upload(name: try ApplicationID(validating: name), archive: file, owner: .local)
        return try await service.deploy(upload) { _ in }
    }

    func host(_ id: HostID?) -> SimulatedHost? { hosts.first { $0.id == id } }

    func placement(of app: ApplicationID) async throws -> ApplicationMemory.Placement {
        try #require(try await service.state(of: app).placement)
    }

    /// Another host than the one that has the app.
    func otherHost(than host: HostID) throws -> SimulatedHost {
        try #require(hosts.first { $0.id != host })
    }

    /// Who serves an app, with epochs: never more than one.
    func servers(of app: ApplicationID) -> [HostID: Int] {
        Dictionary(
            uniqueKeysWithValues: hosts.compactMap { host in host.epoch(of: app).map { (host.id, $0) } }
        )
    }
}
