/// The first bytes of an SQLite database file.
///
/// Source: "Database File Format" on sqlite.org, section 1.3.
package struct DatabaseHeader: Sendable, Hashable {
    /// In bytes.
    package let pageSize: Int
    /// Whether the file says that it is used with a write-ahead log.
    package let usesLog: Bool

    /// How many bytes `init` needs.
    static let byteCount = 100

    /// Reads a header; nil when the bytes are none.
    package init?(_ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes.prefix(Self.byteCount))
        guard bytes.count == Self.byteCount, bytes.starts(with: "SQLite format 3\0".utf8) else { return nil }
        let stored = Int(bytes[16]) << 8 | Int(bytes[17])
        pageSize = stored == 1 ? 65_536 : stored
        guard Self.isPageSize(pageSize) else { return nil }
        // The versions for writing and reading: 1 is a rollback journal, 2 a write-ahead log.
        usesLog = bytes[18] == 2 && bytes[19] == 2
    }

    static func isPageSize(_ size: Int) -> Bool {
        (512...65_536).contains(size) && size & (size - 1) == 0
    }
}
