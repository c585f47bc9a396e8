package import Control
package import Foundation
import Logging
import NIOCore
import Storage

/// What the store knows of an app, so that a host that has nothing gets it back: `records/apps/<app>.json`.
///
/// Secrets are not in it: they are encrypted with a key that is the host's alone.
package struct ApplicationRecord: Codable, Sendable, Equatable {
    package var app: ApplicationID
    package var owner: UserID
    package var createdAt: Date
    package var version: VersionID
    package var env: [String: String]
    package var secretNames: [String]

    package init(
        app: ApplicationID,
        owner: UserID,
        createdAt: Date,
        version: VersionID,
        env: [String: String],
        secretNames: [String]
    ) {
        self.app = app
        self.owner = owner
        self.createdAt = createdAt
        self.version = version
        self.env = env
        self.secretNames = secretNames
    }
}

extension AppDatabases {
    private static let recordPrefix = "records/apps/"

    /// Puts the archive of a version into the store, unless it is there.
    package func keepArtifact(_ version: VersionID) async throws {
        do {
            let key = try artifactKey(version)
            guard try await store.head(key) == nil else { return }
            _ = try await store.put(key, .file(folder.artifact(version.rawValue)), if: .always)
        } catch {
            throw Self.shown(error, "keep version \(version.short) in the object store")
        }
    }

    /// Gets the archive of a version from the store, unless it is here.
    ///
    /// - Throws: ``MartletError`` with code `not_found` when the store does not have it either.
    package func fetchArtifact(_ version: VersionID) async throws {
        let path = folder.artifact(version.rawValue)
        guard !FileManager.default.fileExists(atPath: path) else { return }
        do {
            guard let object = try await store.find(try artifactKey(version)) else {
                throw MartletError(
                    .notFound,
                    "version \(version.short) is not in \(store.location); deploy the app again"
                )
            }
            try await object.write(toFile: path)
        } catch {
            throw Self.shown(error, "get version \(version.short)")
        }
    }

    /// Removes the archives of versions that no app has any more.
    package func dropArtifacts(_ versions: [VersionID]) async {
        guard configuration.keepsApplications else { return }
        for version in versions {
            do { try await store.delete(try artifactKey(version)) } catch {
                logger.info("an artifact stays in the store", metadata: ["error": "\(error)"])
            }
        }
    }

    /// Notes an app in the store.
    package func keep(_ record: ApplicationRecord) async throws {
        guard configuration.keepsApplications else { return }
        do {
            let bytes = ByteBuffer(bytes: try JSONFormat.encoder().encode(record))
            try await store.put(try Self.recordKey(record.app), .bytes(bytes))
        } catch {
            throw Self.shown(error, "note \(record.app) in the object store")
        }
    }

    func forgetRecord(of app: ApplicationID) async throws {
        guard configuration.keepsApplications else { return }
        try await store.delete(try Self.recordKey(app))
    }

    /// The apps that the store knows of.
    package func applicationRecords() async throws -> [ApplicationRecord] {
        guard configuration.keepsApplications else { return [] }
        do {
            var records: [ApplicationRecord] = []
            for object in try await store.listAll(prefix: Self.recordPrefix) {
                let bytes = try await store.get(object.key).bytes(upTo: 1 << 20)
                records.append(
                    try JSONFormat.decoder().decode(
                        ApplicationRecord.self,
                        from: Data(bytes.readableBytesView)
                    )
                )
            }
            return records
        } catch {
            throw Self.shown(error, "read which apps there are")
        }
    }

    private func artifactKey(_ version: VersionID) throws -> ObjectKey {
        try ObjectKey("artifacts/\(version.rawValue).tar.gz")
    }

    private static func recordKey(_ app: ApplicationID) throws -> ObjectKey {
        try ObjectKey("\(recordPrefix)\(app.rawValue).json")
    }
}
