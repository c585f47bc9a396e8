/// How much an archive may hold.
///
/// Unpacking stops at the first byte or file over a limit.
public struct ArchiveLimits: Sendable, Equatable {
    /// Size of all files together, unpacked.
    public var unpackedBytes: Int
    /// Files, links and folders.
    public var entries: Int
    public var pathBytes: Int
    /// Folders inside folders.
    public var depth: Int

    /// Enough for any app that people write, and no more than a host can take many times over.
    public static let standard = Self(unpackedBytes: 512 << 20, entries: 20_000, pathBytes: 1024, depth: 64)

    public init(unpackedBytes: Int, entries: Int, pathBytes: Int, depth: Int) {
        self.unpackedBytes = unpackedBytes
        self.entries = entries
        self.pathBytes = pathBytes
        self.depth = depth
    }
}
