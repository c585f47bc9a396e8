import Logging
import Storage

/// Opens the store that an address names.
enum ObjectStores {
    static func open(_ address: StoreAddress, logger: Logger) async throws -> any ObjectStore {
        switch address {
        case .folder(let root): try await FolderStore(root: root)
        case .s3(let configuration): S3Store(configuration: configuration, logger: logger)
        }
    }
}
