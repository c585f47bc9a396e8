/// The first 100 bytes of an LTX file: which transactions it holds and from where in the log they came.
///
/// Source: the format of github.com/superfly/ltx as Litestream 0.5.17 writes it. All numbers are big-endian.
struct LTXHeader: Sendable, Hashable {
    static let byteCount = 100
    /// Set in `flags`: no checksum of the whole database is kept.
    static let noChecksum: UInt32 = 1 << 1

    var flags: UInt32
    /// In bytes.
    var pageSize: UInt32
    /// The database's size after these transactions, in pages.
    var commit: UInt32
    var minTransaction: UInt64
    var maxTransaction: UInt64
    /// Milliseconds since 1970.
    var timestamp: Int64
    var preApplyChecksum: UInt64 = 0
    /// Where in the write-ahead log these transactions began, and how many bytes they were.
    var walOffset: Int64
    var walSize: Int64
    var walSalt1: UInt32
    var walSalt2: UInt32
    var node: UInt64 = 0

    var bytes: [UInt8] {
        var out: [UInt8] = Array("LTX1".utf8)
        func add<Number: FixedWidthInteger>(_ number: Number) {
            withUnsafeBytes(of: number.bigEndian) { out += $0 }
        }
        add(flags)
        add(pageSize)
        add(commit)
        add(minTransaction)
        add(maxTransaction)
        add(timestamp)
        add(preApplyChecksum)
        add(walOffset)
        add(walSize)
        add(walSalt1)
        add(walSalt2)
        add(node)
        return out + [UInt8](repeating: 0, count: Self.byteCount - out.count)
    }
}

extension LTXHeader {
    /// Reads a header; nil when the bytes are none.
    init?(_ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes.prefix(Self.byteCount))
        guard bytes.count == Self.byteCount, bytes.starts(with: "LTX1".utf8) else { return nil }
        func number<Number: FixedWidthInteger>(_ offset: Int) -> Number {
            bytes[offset..<offset + MemoryLayout<Number>.size].reduce(0) {
                $0 << 8 | Number(truncatingIfNeeded: $1)
            }
        }
        self.init(
            flags: number(4),
            pageSize: number(8),
            commit: number(12),
            minTransaction: number(16),
            maxTransaction: number(24),
            timestamp: number(32),
            preApplyChecksum: number(40),
            walOffset: number(48),
            walSize: number(56),
            walSalt1: number(64),
            walSalt2: number(68),
            node: number(72)
        )
        guard DatabaseHeader.isPageSize(Int(pageSize)), minTransaction > 0, minTransaction <= maxTransaction
        else {
            return nil
        }
    }
}
