import Foundation

extension HostDaemon {
    /// Gets the packages that the app names, and freezes them in its folder.
    ///
    /// - Throws: ``MartletError`` with code `check_failed` and the installer's words.
    public func resolve(
        _ version: UnpackedVersion,
        onProgress: @escaping @Sendable (String) async -> Void
    ) async throws -> UnpackedVersion {
        version
    }
}
