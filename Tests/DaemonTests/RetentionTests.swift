import TestSupport
import Control
@testable import Daemon
import Foundation
import Replication
import Storage
import StorageTestSupport
import Testing

/// What is removed from the store once nobody can want it back.
@Suite(.serialized) struct RetentionTests {
    @Test func `replicas of removed databases, old epochs and deleted apps go after the retention time`()
        async throws
    {
        try await withStore { store in
            try await HostFixture.with {
                $0.store = store
            } _: { host in
                let databases = try #require(await host.daemon.databases)
                let later = Date(timeIntervalSinceNow: store.retention.inSeconds + 3600)
                let app = try ApplicationID(validating: "many")
                try await host.deploy("many", DatabaseTests.many)
                for name in ["kept.db", "gone.db"] {
                    #expect(try await host.send("GET", "/make?name=\(name)", to: "many").body == "1")
                }
                try await HostFixture.wait("both are replicated") {
                    try await Self.replicas(databases, "many", 1) == ["gone.db", "kept.db"]
                }
                #expect(try await host.send("GET", "/remove?name=gone.db", to: "many").status == 200)
                try await HostFixture.wait("the removal is noted") {
                    try await EpochRecord.read("many", 1, in: databases.store)?.removed["gone.db"] != nil
                }
                await databases.prune(app)
                #expect(try await Self.replicas(databases, "many", 1) == ["gone.db", "kept.db"])
                await databases.prune(app, now: later)
                #expect(try await Self.replicas(databases, "many", 1) == ["kept.db"])
                #expect(try await EpochRecord.read("many", 1, in: databases.store)?.removed.isEmpty == true)
                #expect(try await host.send("GET", "/make?name=gone.db", to: "many").body == "1")

                try await host.daemon.delete(app)
                await databases.pruneDeleted()
                #expect(try await Self.replicas(databases, "many", 1).contains("kept.db"))
                // A name that is taken again keeps what is the new app's.
                try await host.deploy("many", DatabaseTests.many)
                #expect(try await host.send("GET", "/make?name=new.db", to: "many").body == "1")
                try await HostFixture.wait("the new app is replicated") {
                    try await Self.replicas(databases, "many", 3) == ["new.db"]
                }
                await databases.pruneDeleted(now: later)
                let left = try await databases.store.listAll(prefix: "apps/many/epochs/").map(\.key.path)
                #expect(!left.contains { $0.hasPrefix("apps/many/epochs/1") }, "\(left)")
                #expect(try await Self.replicas(databases, "many", 3) == ["new.db"])
                #expect(try await databases.store.listAll(prefix: "records/deleted/").isEmpty)
                #expect(try await host.send("GET", "/make?name=new.db", to: "many").body == "2")
            }
        }
    }

    private static func replicas(
        _ databases: AppDatabases,
        _ app: String,
        _ epoch: Int
    ) async throws -> [String] {
        let prefix = ReplicaLocation.folder(app: app, epoch: epoch)
        return try await databases.replicator.replicas(below: prefix).map {
            String($0.prefix.path.dropFirst(prefix.count))
        }
    }
}
