import Control
import Daemon
import Foundation
import Storage

/// The object store that the command line names.
enum StoreChoice {
    /// The store of a host with its state in `folder`, and the host's name under it; nil for none.
    ///
    /// - Throws: ``MartletError`` where something is missing.
    static func resolve(
        store: String?,
        s3: String?,
        litestream: String?,
        folder: URL,
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws -> (store: HostStore, host: String)? {
        if store != nil, s3 != nil {
            throw MartletError(.badRequest, "--store and --s3 are the same; give one of them")
        }
        if let s3, !s3.hasPrefix("s3://") {
            throw MartletError(.badRequest, "--s3 \(s3): write s3://BUCKET/PREFIX?endpoint=http://HOST:PORT")
        }
        let text = store ?? s3
        if text == "none" { return nil }
        guard
            let program = Programs.tool("litestream", given: litestream ?? environment["MARTLET_LITESTREAM"])
        else {
            throw MartletError(
                .unavailable,
                "litestream is not found, and without it databases are not replicated; run `make tools`, name it with "
                    + "--litestream FILE, or go without replication with --store none"
            )
        }
        let inside = folder.appending(path: "store").path(percentEncoded: false)
        let address: StoreAddress
        do {
            let absolute = text.map {
                isURL($0) ? $0 : URL(filePath: $0).standardizedFileURL.path(percentEncoded: false)
            }
            address = try StoreAddress(absolute ?? inside, environment: environment)
        } catch let error as StorageError {
            throw MartletError(.badRequest, error.message, cause: error)
        }
        let isRemote = if case .s3 = address { true } else { false }
        let result = HostStore(
            address: address,
            litestream: program.path(percentEncoded: false),
            isRemote: isRemote
        )
        return (result, text == nil ? "local" : try hostName(folder))
    }

    private static func isURL(_ text: String) -> Bool { text.hasPrefix("s3://") || text.hasPrefix("file://") }

    /// A name that no other host has under the same store, kept in the state folder.
    private static func hostName(_ folder: URL) throws -> String {
        let file = folder.appending(path: "host-id")
        if let data = FileManager.default.contents(atPath: file.path(percentEncoded: false)) {
            return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        }
        let name = "local-" + UUID().uuidString.lowercased().prefix(8)
        try SecretFile.write(Data((name + "\n").utf8), to: file)
        return name
    }
}
