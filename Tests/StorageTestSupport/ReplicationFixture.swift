import Foundation
import Glibc
import Logging
package import Replication
package import Storage
import TestSupport

/// A store, and a Litestream that replicates to it, for as long as a test needs them.
package struct ReplicationFixture: Sendable {
    package let folder: String
    package let store: any ObjectStore
    package let address: StoreAddress
    package let replicator: LitestreamReplicator

    /// On a store in a folder whose name Litestream would not take as it is.
    package static func withFolder<Result: Sendable>(
        _ body: (ReplicationFixture) async throws -> Result
    ) async throws -> Result {
        try await withTemporaryFolder { folder in
            let root = folder + "/the store ü"
            let store = try await FolderStore(root: root)
            return try await with(folder: folder, store: store, address: .folder(root), body)
        }
    }

    /// On a real S3 server.
    package static func withS3<Result: Sendable>(
        _ body: (ReplicationFixture, SeaweedFS) async throws -> Result
    ) async throws -> Result {
        try await withTemporaryFolder { folder in
            try await SeaweedFS.with(folder: folder + "/weed") { server in
                let configuration = try server.configuration(prefix: "in/here")
                let store = S3Store(configuration: configuration, logger: Logger(label: "store"))
                do {
                    let result = try await with(folder: folder, store: store, address: .s3(configuration)) {
                        try await body($0, server)
                    }
                    try await store.shutdown()
                    return result
                } catch {
                    try await store.shutdown()
                    throw error
                }
            }
        }
    }

    /// Runs a replicator while `body` runs.
    package static func with<Result: Sendable>(
        folder: String,
        store: any ObjectStore,
        address: StoreAddress,
        name: String = "state",
        change: (inout LitestreamSettings) -> Void = { _ in },
        _ body: (ReplicationFixture) async throws -> Result
    ) async throws -> Result {
        var settings = LitestreamSettings(
            executable: tool("litestream"),
            stateFolder: "\(folder)/\(name)",
            address: address
        )
        change(&settings)
        var logger = Logger(label: "replication")
        logger.logLevel = ProcessInfo.processInfo.environment["TEST_LOG"] == nil ? .critical : .debug
        let replicator = LitestreamReplicator(settings: settings, store: store, logger: logger)
        let running = Task { try await replicator.run() }
        let fixture = ReplicationFixture(
            folder: folder,
            store: store,
            address: address,
            replicator: replicator
        )
        let outcome: Swift.Result<Result, any Error>
        do { outcome = .success(try await body(fixture)) } catch { outcome = .failure(error) }
        running.cancel()
        _ = await running.result
        return try outcome.get()
    }

    /// A database under `data/`, to be replicated as the app `app` under an epoch.
    package func database(
        _ name: String,
        app: String = "app",
        epoch: Int = 1,
        host: String = "data"
    ) throws
        -> ReplicatedDatabase
    {
        let path = "\(folder)/\(host)/\(name)"
        try FileSystem.makeFolders(DatabaseFiles(path: path).folder)
        return ReplicatedDatabase(
            path: path,
            replica: try ReplicaLocation(app: app, epoch: epoch, database: name)
        )
    }
}

/// A database as an app opens it.
package func openDatabase(_ path: String, journal: String = "wal") throws -> SQLiteConnection {
    if !FileManager.default.fileExists(atPath: path) { try Data().write(to: URL(fileURLWithPath: path)) }
    let connection = try SQLiteConnection(path, .readWrite)
    try connection.execute(
        "PRAGMA journal_mode=\(journal); PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=normal; PRAGMA foreign_keys=on"
    )
    return connection
}

extension SQLiteConnection {
    /// Adds rows of random content to the table `rows`, in transactions of 500.
    package func addRows(_ count: Int, bytes: Int = 100) throws {
        try execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, content BLOB)")
        for start in stride(from: 0, to: count, by: 500) {
            let part = min(500, count - start)
            try execute(
                """
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(part))
                INSERT INTO rows (content) SELECT randomblob(\(bytes)) FROM n
                """
            )
        }
    }

    /// A text that is equal only for equal content of the table `rows`.
    package func fingerprint() throws -> String {
        try column(
            "SELECT count(*) || ' ' || coalesce(max(id), 0) || ' ' || coalesce(sum(id * length(content)), 0) || ' ' || coalesce(group_concat(hex(substr(content, 1, 4)), ''), '') FROM (SELECT * FROM rows ORDER BY id)"
        ).joined()
    }
}

/// The fingerprint of a database file.
package func fingerprint(_ path: String) throws -> String {
    try SQLiteConnection(path, .readWrite).fingerprint()
}
