import FoundationEssentials
import Storage

/// A file of a replica: a range of transactions, at a level of compaction.
///
/// Its key is `<replica>/ltx/<level>/<first>-<last>.ltx`, with the level in hexadecimal (`0` in folders, `0000` in S3)
/// and transactions as 16 hexadecimal digits. Level 9 holds snapshots, which stand alone.
struct LTXObject: Sendable, Hashable {
    static let snapshotLevel = 9

    let key: ObjectKey
    let level: Int
    let minTransaction: UInt64
    let maxTransaction: UInt64
    let sizeBytes: Int64
    /// When the last transaction in it was replicated, where its header was read; else when the store wrote it.
    var time: Date

    /// Whether the file alone gives the database.
    var isSnapshot: Bool { minTransaction == 1 }

    init?(_ info: ObjectInfo) {
        guard let (_, level, range) = Self.parts(of: info.key) else { return nil }
        let names = range.split(separator: "-")
        guard names.count == 2, names.allSatisfy({ $0.utf8.count == 16 }), let first = UInt64(names[0], radix: 16),
            let last = UInt64(names[1], radix: 16), first > 0, first <= last
        else { return nil }
        self.init(
            key: info.key, level: level, minTransaction: first, maxTransaction: last, sizeBytes: info.sizeBytes,
            time: info.modified)
    }

    init(key: ObjectKey, level: Int, minTransaction: UInt64, maxTransaction: UInt64, sizeBytes: Int64, time: Date) {
        self.key = key
        self.level = level
        self.minTransaction = minTransaction
        self.maxTransaction = maxTransaction
        self.sizeBytes = sizeBytes
        self.time = time
    }

    /// The replica that a key belongs to, or nil when it is not the key of such a file.
    static func replica(of key: ObjectKey) -> String? { parts(of: key).map { String($0.replica) } }

    /// The name of the file of one transaction.
    static func name(of transaction: UInt64) -> String {
        let digits = String(transaction, radix: 16)
        let padded = String(repeating: "0", count: 16 - digits.utf8.count) + digits
        return "\(padded)-\(padded).ltx"
    }

    private static func parts(of key: ObjectKey) -> (replica: Substring, level: Int, range: Substring)? {
        let components = key.path.split(separator: "/")
        guard components.count >= 4, components[components.count - 3] == "ltx",
            components[components.count - 1].hasSuffix(".ltx"),
            let level = Int(components[components.count - 2], radix: 16),
            let start = components.dropLast(3).last?.endIndex
        else { return nil }
        return (key.path[..<start], level, components[components.count - 1].dropLast(4))
    }
}
