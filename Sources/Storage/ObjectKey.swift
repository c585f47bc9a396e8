/// The name of an object: components between slashes, such as `apps/guestbook/owner.json`.
///
/// Keys are at most 1,024 bytes (Amazon S3's limit) and each component at most 255 (a file name's limit), so that
/// the same key works in a folder and in S3. Components are never empty, `.` or `..`, and have no control characters.
package struct ObjectKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let path: String

    /// Checks `path`.
    ///
    /// - Throws: `StorageError` with the code `invalid`, naming what is wrong.
    package init(_ path: String) throws {
        if let problem = Self.problem(path) {
            throw StorageError(.invalid, "object key \(path.debugDescription): \(problem)")
        }
        self.path = path
    }

    /// The key one component, or several between slashes, below this one.
    package func appending(_ components: String) throws -> ObjectKey {
        try ObjectKey("\(path)/\(components)")
    }

    package var description: String { path }

    /// Keys order by their bytes, as S3 lists them.
    package static func < (left: ObjectKey, right: ObjectKey) -> Bool {
        left.path.utf8.lexicographicallyPrecedes(right.path.utf8)
    }

    private static func problem(_ path: String) -> String? {
        if path.isEmpty { return "it is empty" }
        if path.utf8.count > 1024 { return "it is longer than 1,024 bytes" }
        if path.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return "it has a control character" }
        for component in path.split(separator: "/", omittingEmptySubsequences: false) {
            if component.isEmpty { return "it has an empty component" }
            if component == "." || component == ".." { return "a component is \(component)" }
            if component.utf8.count > 255 { return "a component is longer than 255 bytes" }
        }
        return nil
    }
}
