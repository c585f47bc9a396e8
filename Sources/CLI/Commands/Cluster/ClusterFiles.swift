import ClusterContract
import Control
import Foundation
import Logging
import Storage

/// What the processes of a cluster read at their start.
enum ClusterFiles {
    static func make(_ folder: URL) throws {
        do {
            try FileManager.default.createDirectory(
                at: folder,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o711]
            )
        } catch {
            throw MartletError(
                .badRequest,
                "make the folder \(folder.path): \(error.localizedDescription); choose another with --data",
                cause: error
            )
        }
    }

    /// The cluster's secret.
    static func secret(_ path: String) throws -> ClusterSecret {
        let text: String
        do { text = try String(contentsOf: URL(filePath: path), encoding: .utf8) } catch {
            throw MartletError(
                .badRequest,
                "read the cluster's secret from \(path): \(error.localizedDescription); "
                    + "`openssl rand -hex 32` makes one",
                cause: error
            )
        }
        return try ClusterSecret(text)
    }

    /// The file with the cluster's secret in a folder, made at the first start.
    static func secretFile(in folder: URL) throws -> URL {
        let file = folder.appending(path: "cluster.secret")
        guard !FileManager.default.fileExists(atPath: file.path) else { return file }
        var random = SystemRandomNumberGenerator()
        try SecretFile.write(Data((APIToken.random(using: &random).secret + "\n").utf8), to: file)
        return file
    }

    /// The cluster's object store.
    static func store(_ text: String) async throws -> any ObjectStore {
        let isURL = text.hasPrefix("s3://") || text.hasPrefix("file://")
        let absolute = isURL ? text : URL(filePath: text).standardizedFileURL.path(percentEncoded: false)
        do {
            switch try StoreAddress(absolute, environment: ProcessInfo.processInfo.environment) {
            case .folder(let root): return try await FolderStore(root: root)
            case .s3(let configuration):
                return S3Store(configuration: configuration, logger: Logger(label: "martlet.store"))
            }
        } catch let error as StorageError {
            throw MartletError(.badRequest, error.message, cause: error)
        }
    }

    static func hostAndPort(
        _ text: String,
        _ option: String
    ) throws(MartletError) -> (address: String, port: UInt16) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
            colon > text.startIndex
        else {
            throw MartletError(.badRequest, "\(option) \(text) is no address and port such as 127.0.0.1:7233")
        }
        return (text[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]")), port)
    }
}
