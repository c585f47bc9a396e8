import Archive
import ClusterContract
import Control
@testable import Daemon
import Foundation
import Logging
import NIOCore
import Storage
import StorageTestSupport
import Temporal
import Testing

/// Hosts of a cluster in one process, with a store that they share, and the orders that control would give them.
final class ClusterFixture {
    final class Member: Sendable {
        let id: Control.HostID
        let daemon: HostDaemon
        let agent: HostAgent
        let port: UInt16
        let peer: HostAddress
        fileprivate let running: Task<Void, any Error>

        fileprivate init(
            _ id: Control.HostID,
            _ daemon: HostDaemon,
            _ agent: HostAgent,
            _ port: UInt16,
            _ peer: HostAddress,
            _ running: Task<Void, any Error>
        ) {
            self.id = id
            self.daemon = daemon
            self.agent = agent
            self.port = port
            self.peer = peer
            self.running = running
        }

        var route: RouteHost { RouteHost(id: id, peer: peer) }

        /// Sends a request to this host's ingress.
        func send(
            _ method: String = "GET",
            _ path: String = "/",
            to app: String,
            timeout: Int = 60
        ) async throws -> HTTPClient.Answer {
            try await HTTPClient.send(method, path, host: "\(app).localhost", port: port, timeout: timeout)
        }
    }

    let folder: URL
    let store: HostStore
    let secret: ClusterSecret
    private(set) var members: [Member] = []
    private var number = 0
    private var table: Control.RouteTable?
    private let change: (inout HostConfiguration) -> Void

    private init(folder: URL, store: HostStore, change: @escaping (inout HostConfiguration) -> Void) throws {
        self.folder = folder
        self.store = store
        self.change = change
        secret = try ClusterSecret("a secret that only tests have")
    }

    /// Runs hosts for the duration of `body`, and cleans up whatever happens.
    static func with(
        _ hosts: [String],
        lease: Duration = .seconds(30),
        _ change: @escaping (inout HostConfiguration) -> Void = { _ in },
        _ body: (ClusterFixture) async throws -> Void
    ) async throws {
        let folder = URL(fileURLWithPath: "/tmp/martlet-test-\(UUID().uuidString.prefix(8).lowercased())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var store = HostStore(
            address: .folder(folder.appending(path: "store").path),
            litestream: tool("litestream"),
            isRemote: false
        )
        store.keepsApplications = false
        store.takesByItself = false
        store.leaseDuration = lease
        store.leaseMargin = min(.seconds(2), lease / 5)
        let cluster = try ClusterFixture(folder: folder, store: store, change: change)
        do {
            for host in hosts { try await cluster.start(host) }
            try await body(cluster)
        } catch {
            await cluster.stopAll()
            throw error
        }
        await cluster.stopAll()
    }

    subscript(_ id: String) -> Member {
        get throws { try #require(members.first { $0.id.rawValue == id }) }
    }

    /// Starts a host, or one that was stopped again.
    @discardableResult
    func start(_ name: String) async throws -> Member {
        let id = try Control.HostID(validating: name)
        var configuration = try HostFixture.configuration(folder.appending(path: name))
        configuration.host = id
        configuration.store = store
        configuration.cluster = ClusterConfiguration(listener: .init(port: 0), secret: secret)
        configuration.cluster?.gossipInterval = .milliseconds(500)
        try FileManager.default.createDirectory(
            at: folder.appending(path: name),
            withIntermediateDirectories: true
        )
        change(&configuration)
        var logger = Logger(label: name) { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .critical
        let daemon = try HostDaemon(configuration, logger: logger)
        try await daemon.start(api: nil)
        let running = Task { try await daemon.run() }
        let peer = HostAddress(address: "127.0.0.1", port: try #require(await daemon.peerPort))
        let port = try #require(await daemon.port)
        let agent = HostAgent(
            daemon,
            HostAgent.Configuration(
                host: id,
                peer: peer,
                ingress: HostAddress(address: "127.0.0.1", port: port),
                api: "",
                capacity: 1_000_000,
                lease: .standard
            ),
            connection: TemporalConnection(.init(port: 1)),
            logger: logger
        )
        let member = Member(id, daemon, agent, port, peer, running)
        members.append(member)
        try await HostFixture.wait("\(name) has a lease") { await daemon.leaseTerm() != nil }
        return member
    }

    func stop(_ member: Member) async {
        members.removeAll { $0 === member }
        member.running.cancel()
        _ = await member.running.result
    }

    /// Stops a host and lets everything of it go, so that it can be started again with its folder.
    func stop(_ name: String) async throws {
        let running = try self[name].running
        members.removeAll { $0.id.rawValue == name }
        running.cancel()
        _ = await running.result
    }

    private func stopAll() async {
        for member in members { await stop(member) }
    }

    // MARK: - Accidents

    /// Ends a host's lease as a failover does.
    func endLease(of member: Member) async throws -> Int {
        let objects = try await FolderStore(root: folder.appending(path: "store").path)
        return try #require(
            await Lease.revoke(holder: member.id.rawValue, store: objects, clock: ContinuousClock())
        )
    }

    /// Makes the store unreachable: there is a file where its folder was.
    func hideStore() throws {
        let store = folder.appending(path: "store")
        try FileManager.default.moveItem(at: store, to: folder.appending(path: "hidden"))
        try Data().write(to: store)
    }

    func showStore() throws {
        let store = folder.appending(path: "store")
        try FileManager.default.removeItem(at: store)
        try FileManager.default.moveItem(at: folder.appending(path: "hidden"), to: store)
    }

    // MARK: - Orders

    func nextNumber() -> Int {
        number += 1
        return number
    }

    /// Packs files and puts them into the store as control does.
    func specification(
        _ app: String,
        _ files: [String: String],
        environment: [String: String] = [:]
    ) async throws
        -> ApplicationSpecification
    {
        let source = folder.appending(path: "source-\(UUID().uuidString)")
        for (name, text) in files {
            let file = source.appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try Data(text.utf8).write(to: file)
        }
        let archive = folder.appending(path: "upload-\(UUID().uuidString).tar.gz")
        _ = try ArchiveWriter().pack(source, to: archive)
        let (digest, bytes) = try FileDigest.sha256(archive.path)
        let version = try VersionID(digest: digest)
        let objects = try await FolderStore(root: folder.appending(path: "store").path)
        try await objects.put(
            ObjectKey(ClusterNames.artifact(version)),
            .bytes(ByteBuffer(bytes: try Data(contentsOf: archive)))
        )
        let app = try ApplicationID(validating: app)
        return ApplicationSpecification(
            app: app,
            owner: .local,
            version: version,
            artifactBytes: bytes,
            environment: try environment.map {
                try secret.seal($0.value, app: app, name: $0.key, isSecret: true)
            }
        )
    }

    /// Has a host take an app that nobody has, or whose host is lost.
    @discardableResult
    func adopt(
        _ specification: ApplicationSpecification,
        on member: Member,
        epoch: Int = 1,
        cause: AdoptOrder.Cause = .first,
        ended: [String: Int] = [:]
    ) async throws -> AdoptReport {
        _ = try await member.agent.prepare(PrepareOrder(specification: specification, number: nextNumber()))
        return try await member.agent.adopt(
            AdoptOrder(
                specification: specification,
                number: nextNumber(),
                epoch: epoch,
                fromEpoch: epoch > 1 ? epoch - 1 : nil,
                cause: cause,
                endedTerms: ended,
                isAwake: true
            )
        )
    }

    /// What a move reported.
    struct Move {
        var follow: FollowReport?
        var quiesce: QuiesceReport
        var adopt: AdoptReport
        var handOver: HandOverReport
    }

    /// Moves an app as its workflow does.
    func move(
        _ specification: ApplicationSpecification,
        from old: Member,
        to new: Member,
        epoch: Int,
        follows: Bool = true
    ) async throws -> Move {
        let app = specification.app
        _ = try await new.agent.prepare(PrepareOrder(specification: specification, number: nextNumber()))
        var follow: FollowReport?
        if follows {
            follow = try await new.agent.follow(FollowOrder(app: app, number: nextNumber(), fromEpoch: epoch))
        }
        let quiesce = try await old.agent.quiesce(quiesceOrder(app, epoch: epoch))
        let adopt = try await new.agent.adopt(
            AdoptOrder(
                specification: specification,
                number: nextNumber(),
                epoch: epoch + 1,
                fromEpoch: epoch,
                cause: .move,
                isAwake: quiesce.wasAwake
            )
        )
        let handOver = try await old.agent.handOver(
            HandOverOrder(app: app, number: nextNumber(), host: new.route, epoch: adopt.epoch)
        )
        try await publish([specification.app: new], epoch: adopt.epoch)
        _ = try await old.agent.remove(RemoveOrder(app: app, number: nextNumber(), keepsReplica: true))
        return Move(follow: follow, quiesce: quiesce, adopt: adopt, handOver: handOver)
    }

    func quiesceOrder(_ app: ApplicationID, epoch: Int, patience: Int = 60_000) -> QuiesceOrder {
        QuiesceOrder(
            app: app,
            number: nextNumber(),
            epoch: epoch,
            drainMilliseconds: 20_000,
            patienceMilliseconds: patience
        )
    }

    /// Tells all hosts, or some, that every slice is the first host's, but for these apps.
    func publish(
        _ exceptions: [ApplicationID: Member],
        epoch: Int = 1,
        to receivers: [Member]? = nil
    ) async throws {
        try await publish(routes: exceptions.mapValues(\.route), epoch: epoch, to: receivers)
    }

    /// As above, where an app may be at a host that is not one of the fixture's.
    func publish(
        routes exceptions: [ApplicationID: RouteHost],
        also others: [RouteHost] = [],
        epoch: Int = 1,
        to receivers: [Member]? = nil
    ) async throws {
        let next = try Control.RouteTable(
            generation: (table?.generation ?? 0) + 1,
            hosts: members.map(\.route) + others,
            starts: [0],
            owners: [0],
            exceptions: Dictionary(
                uniqueKeysWithValues: exceptions.map {
                    ($0.key, RouteException(app: $0.key, host: $0.value.id, epoch: epoch))
                }
            )
        )
        table = next
        for member in receivers ?? members { try await member.daemon.publish(next) }
    }
}
