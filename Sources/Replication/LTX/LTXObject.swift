import FoundationEssentials
import Storage

/// A file of a replica: a range of transactions, at a level of compaction.
///
/// Its key is `<replica>/ltx/<level>/<first>-<last>.ltx` in folders, with the level as one hexadecimal digit, and
/// `<replica>/<level>/<first>-<last>.ltx` in S3, with four; transactions are 16 hexadecimal digits. Level 9 holds
/// snapshots, which stand alone.
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
        guard names.count == 2, names.allSatisfy({ $0.utf8.count == 16 }),
            let first = UInt64(names[0], radix: 16),
            let last = UInt64(names[1], radix: 16), first > 0, first <= last
        else { return nil }
        self.init(
            key: info.key,
            level: level,
            minTransaction: first,
            maxTransaction: last,
            sizeBytes: info.sizeBytes,
            time: info.modified
        )
    }

    init(
        key: ObjectKey,
        level: Int,
        minTransaction: UInt64,
        maxTransaction: UInt64,
        sizeBytes: Int64,
        time: Date
    ) {
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

    /// The folder of the replica that holds its single transactions, beside the folder that this file is in.
    var singlesFolder: String {
        let components = key.path.split(separator: "/")
        let isInFolder = components[components.count - 2].utf8.count == 1
        return isInFolder ? "ltx/0" : "0000"
    }

    private static func parts(of key: ObjectKey) -> (replica: Substring, level: Int, range: Substring)? {
        let components = key.path.split(separator: "/")
        guard components.count >= 3, components[components.count - 1].hasSuffix(".ltx") else { return nil }
        let name = components[components.count - 2]
        let isInFolder = name.utf8.count == 1 && components[components.count - 3] == "ltx"
        guard isInFolder || name.utf8.count == 4, let level = Int(name, radix: 16),
            let end = components.dropLast(isInFolder ? 3 : 2).last?.endIndex
        else { return nil }
        return (key.path[..<end], level, components[components.count - 1].dropLast(4))
    }
}
