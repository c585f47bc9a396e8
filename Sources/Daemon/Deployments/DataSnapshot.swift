import CSandbox
import Foundation
import GRDB

/// A copy of an app's data at one moment, for a version that is only tried.
enum DataSnapshot {
    /// Copies files, and databases as SQLite itself does it, while the app goes on.
    ///
    /// Links are left out: they could lead anywhere.
    ///
    /// - Returns: false when there is more than `maximumBytes`; then nothing useful is at `target`.
    /// - Throws: ``SystemError`` or `DatabaseError`.
    static func make(of source: String, at target: String, maximumBytes: Int) throws -> Bool {
        try StateFolder.make(target, mode: 0o700)
        guard let walk = FileManager.default.enumerator(atPath: source) else { return true }
        var bytes = 0
        while let name = walk.nextObject() as? String {
            let path = source + "/" + name
            // A file may go while we look.
            guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
                let type = attributes[.type] as? FileAttributeType
            else { continue }
            if type == .typeDirectory {
                try StateFolder.make(target + "/" + name, mode: 0o700)
            } else if type == .typeRegular {
                if isPartOfDatabase(source, name) { continue }
                bytes += (attributes[.size] as? NSNumber)?.intValue ?? 0
                guard bytes <= maximumBytes else { return false }
                if isDatabase(source, name) {
                    try copyDatabase(path, to: target + "/" + name)
                } else {
                    let result = csandbox_copy_inside(source, name, target + "/" + name)
                    // Gone, or something else by now that is left out.
                    if ![-ENOENT, -ELOOP, -EXDEV, -EINVAL, -ENXIO].contains(result) {
                        try SystemError.check(result, "copy \(name)")
                    }
                }
            }
        }
        return true
    }

    /// The first bytes of every SQLite database (sqlite.org/fileformat.html, 1.3).
    private static func isDatabase(_ folder: String, _ name: String) -> Bool {
        let fd = csandbox_open_inside(folder, name)
        guard fd >= 0 else { return false }
        defer { csandbox_close(fd) }
        var bytes = [UInt8](repeating: 0, count: 16)
        return csandbox_read(fd, &bytes, 16) == 16 && bytes == Array("SQLite format 3\u{0}".utf8)
    }

    private static func isPartOfDatabase(_ folder: String, _ name: String) -> Bool {
        for suffix in ["-wal", "-shm", "-journal"] where name.hasSuffix(suffix) {
            return isDatabase(folder, String(name.dropLast(suffix.count)))
        }
        return false
    }

    private static func copyDatabase(_ source: String, to target: String) throws {
        // A writer that closes an asleep database would empty its log, and then all of it would be replicated anew.
        var configuration = Configuration()
        configuration.readonly = true
        let from = try DatabaseQueue(path: source, configuration: configuration)
        let to = try DatabaseQueue(path: target)
        try from.backup(to: to)
    }
}
