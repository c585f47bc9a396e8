import CSandbox

/// What was found in a data folder before a worker gets it.
///
/// An app can make no links, pipes or devices. A folder may have some all the same: it was copied there from elsewhere, or comes
/// from a host whose kernel lacks a layer. Programs of the host open what is in it, so they are removed before every start.
/// Hard links stay: they are names of files that are in the folder, and none leads out of it.
struct DataSweep: Sendable, Equatable {
    /// What the folder holds now.
    var usage: DiskUsage
    /// How many links, pipes and devices were removed.
    var removed: Int
    /// The name of the first of them, below the folder.
    var first: String?

    /// Sweeps a folder; on a thread that may wait.
    ///
    /// - Throws: ``SystemError`` when the folder cannot be read or something in it cannot be removed.
    static func perform(_ folder: String) throws -> DataSweep {
        var (bytes, files): (UInt64, UInt64) = (0, 0)
        var first = [CChar](repeating: 0, count: 256)
        let removed = csandbox_sweep(folder, &bytes, &files, &first, UInt64(first.count))
        guard removed >= 0 else {
            throw SystemError(Int32(-removed), "remove links, pipes and devices from \(folder)")
        }
        let name = String(decoding: first.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return DataSweep(
            usage: DiskUsage(bytes: Int(clamping: bytes), files: Int(clamping: files)),
            removed: Int(removed),
            first: removed > 0 ? name : nil
        )
    }

    /// For the app's log; nil when there is nothing to say.
    var note: String? {
        guard let first else { return nil }
        let names = removed == 1 ? "\(first) was" : "\(removed) names (\(first) and others) were"
        return "\(names) removed from the data folder: links, pipes and devices are not kept there"
    }
}
