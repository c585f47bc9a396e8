import Archive
import Control
import Crypto
import Foundation
import Storage

/// An uploaded archive on its way into the store.
struct Artifact: Sendable {
    let app: ApplicationID
    let version: VersionID
    let bytes: Int
    /// Cores that the app may use.
    let cpu: Double
    private let file: URL

    /// What a host lets an app use that does not say how much it wants, as `HostConfiguration.Limits` has it.
    private static let usualCPU = 1.0

    /// Looks at an archive, which is not to be trusted; without a name it is read from the archive's settings.
    ///
    /// - Throws: ``MartletError``.
    init(_ file: URL, name: ApplicationID?) async throws {
        self.file = file
        (version, bytes) = try await Self.digest(file)
        let settings = try await Self.settings(in: file)
        guard let app = name ?? settings.name else {
            throw MartletError(
                .badRequest,
                "the app has no name: add \"name\" to martlet.json, or deploy with --name NAME"
            )
        }
        self.app = app
        cpu = settings.limits.cpu ?? Self.usualCPU
    }

    /// Puts the archive into the store unless it is there.
    func keep(in store: any ObjectStore) async throws {
        do {
            let key = try ObjectKey(ClusterNames.artifact(version))
            if try await store.head(key) != nil { return }
            _ = try await store.put(key, .file(file.path(percentEncoded: false)))
        } catch let error as StorageError {
            throw MartletError(
                .unavailable,
                "keep the archive of \(app) in the store \(store.location): \(error.message); try again",
                cause: error
            )
        }
    }

    @concurrent private static func digest(_ file: URL) async throws -> (VersionID, Int) {
        let handle = try FileHandle(forReadingFrom: file)
        defer { try? handle.close() }  // It was only read.
        var hash = SHA256()
        var bytes = 0
        while let part = try handle.read(upToCount: 1 << 20), !part.isEmpty {
            hash.update(data: part)
            bytes += part.count
        }
        return (try VersionID(digest: hash.finalize()), bytes)
    }

    @concurrent private static func settings(in file: URL) async throws -> ApplicationSettings {
        let folder = FileManager.default.temporaryDirectory.appending(path: "martlet-\(UUID().uuidString)")
        // The system's own clean-up would do it too.
        defer { try? FileManager.default.removeItem(at: folder) }
        do { _ = try ArchiveReader.unpack(file, into: folder) } catch {
            throw MartletError(.invalidArchive, "read the archive of the app: \(error)", cause: error)
        }
        let settings = folder.appending(path: ApplicationSettings.fileName)
        guard let data = FileManager.default.contents(atPath: settings.path(percentEncoded: false)) else {
            return ApplicationSettings()
        }
        return try ApplicationSettings(parsing: String(decoding: data, as: UTF8.self))
    }
}
