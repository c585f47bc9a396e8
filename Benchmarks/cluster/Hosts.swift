import Archive
import ClusterContract
import Control
import Crypto
import Daemon
import Foundation
import Logging
import NIOCore
import Storage
import StorageTestSupport
import Temporal
import TestSupport

/// Two hosts with one store, in this process, and the orders that an app's workflow gives them.
final class Hosts {
    struct Member: Sendable {
        let agent: HostAgent
        let port: UInt16
        let route: RouteHost
    }

    let folder: URL
    let store: any ObjectStore
    let secret: ClusterSecret
    let members: [Member]
    private var running: [Task<Void, any Error>]
    private var number = 0
    private var table: Control.RouteTable?

    static let root = URL(fileURLWithPath: FileManager.default.currentDirectoryPath)

    init(_ names: [String], address: StoreAddress, folder: URL, holds: Bool) async throws {
        self.folder = folder
        secret = try ClusterSecret("a secret that only benchmarks have")
        var logger = Logger(label: "cluster-benchmark") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .error
        switch address {
        case .folder(let path): store = try await FolderStore(root: path)
        case .s3(let settings): store = S3Store(configuration: settings, logger: logger)
        }
        var hostStore = HostStore(address: address, litestream: tool("litestream"), isRemote: true)
        hostStore.keepsApplications = false
        hostStore.takesByItself = false
        var members: [Member] = []
        running = []
        for name in names {
            let id = try HostID(validating: name)
            var configuration = HostConfiguration(
                folder: folder.appending(path: name),
                host: id,
                listeners: [.init(port: 0)],
                runtimeFolder: Self.root.appending(path: "Runtime"),
                deno: URL(fileURLWithPath: tool("deno"))
            )
            configuration.sleep.after = nil
            configuration.store = hostStore
            configuration.cluster = ClusterConfiguration(listener: .init(port: 0), secret: secret)
            if !holds { configuration.limits.heldRequests = 0 }
            let daemon = try HostDaemon(configuration, logger: logger)
            try await daemon.start(api: nil)
            running.append(Task { try await daemon.run() })
            let peer = HostAddress(address: "127.0.0.1", port: await daemon.peerPort ?? 0)
            let port = await daemon.port ?? 0
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
            members.append(Member(agent: agent, port: port, route: RouteHost(id: id, peer: peer)))
        }
        self.members = members
    }

    func stop() async {
        for task in running { task.cancel() }
        for task in running { _ = await task.result }
        // Nobody waits for the connections of a store whose server ends next.
        try? await (store as? S3Store)?.shutdown()
    }

    func nextNumber() -> Int {
        number += 1
        return number
    }

    func specification(_ name: String, _ files: [String: String]) async throws -> ApplicationSpecification {
        let source = folder.appending(path: "source")
        try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
        for (file, text) in files { try Data(text.utf8).write(to: source.appending(path: file)) }
        let archive = folder.appending(path: "app.tar.gz")
        _ = try ArchiveWriter().pack(source, to: archive)
        let data = try Data(contentsOf: archive)
        let version = try VersionID(
            validating: SHA256.hash(data: data).map { byte in
                (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }.joined()
        )
        try await store.put(ObjectKey(ClusterNames.artifact(version)), .bytes(ByteBuffer(bytes: data)))
        return ApplicationSpecification(
            app: try ApplicationID(validating: name),
            owner: .local,
            version: version,
            artifactBytes: data.count,
            environment: []
        )
    }

    func publish(_ app: ApplicationID, at index: Int, epoch: Int) async throws {
        let next = try Control.RouteTable(
            generation: (table?.generation ?? 0) + 1,
            hosts: members.map(\.route),
            starts: [0],
            owners: [0],
            exceptions: [app: RouteException(app: app, host: members[index].route.id, epoch: epoch)]
        )
        let previous = table
        table = next
        for member in members {
            if let previous {
                _ = try await member.agent.publish(PublishOrder(change: next.change(from: previous)))
            } else {
                try await member.agent.use(next)
            }
        }
    }

    func adopt(
        _ app: ApplicationSpecification,
        on index: Int,
        epoch: Int,
        cause: AdoptOrder.Cause
    ) async throws
        -> AdoptReport
    {
        try await members[index].agent.adopt(
            AdoptOrder(
                specification: app,
                number: nextNumber(),
                epoch: epoch,
                fromEpoch: epoch > 1 ? epoch - 1 : nil,
                cause: cause,
                isAwake: true
            )
        )
    }
}
