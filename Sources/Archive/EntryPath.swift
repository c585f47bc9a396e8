/// The rules for paths and link targets inside an archive; the same when packing and when unpacking.
enum EntryPath {
    /// The parts of a relative path that stays inside its folder; a leading `./` and a trailing `/` are fine.
    ///
    /// - Throws: ``ArchiveError`` with code `unsafe` or `tooLarge` that names the path.
    static func components(of path: String, limits: ArchiveLimits) throws(ArchiveError) -> [String] {
        let shown = quoted(path)
        guard !path.hasPrefix("/") else {
            throw ArchiveError(
                .unsafe,
                "\(shown) is an absolute path; an archive holds paths inside the app's folder"
            )
        }
        guard path.utf8.count <= limits.pathBytes else {
            throw ArchiveError(.tooLarge, "\(shown) is longer than \(limits.pathBytes) bytes")
        }
        guard path.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
            throw ArchiveError(.unsafe, "\(shown) has a control character in its name")
        }
        let parts = path.split(separator: "/").filter { $0 != "." }.map(String.init)
        guard !parts.contains("..") else {
            throw ArchiveError(.unsafe, "\(shown) leads out of the app's folder (..)")
        }
        guard parts.allSatisfy({ $0.utf8.count <= 255 }) else {
            throw ArchiveError(.tooLarge, "\(shown) has a name of more than 255 bytes")
        }
        guard parts.count <= limits.depth else {
            throw ArchiveError(.tooLarge, "\(shown) is more than \(limits.depth) folders deep")
        }
        return parts
    }

    /// Checks that a link can never lead out of the folder, whatever other links there are.
    ///
    /// Dots may only lead: after a name that is itself a link `..` would go up from where that link points. Entries
    /// are never placed through links, so the link's own folders are real, and going up from them stays inside.
    ///
    /// - Throws: ``ArchiveError`` with code `unsafe`.
    static func checkTarget(
        _ target: String,
        ofLinkAt components: [String],
        limits: ArchiveLimits
    )
        throws(ArchiveError)
    {
        let shown = "the link \(quoted(components.joined(separator: "/"))) to \(quoted(target))"
        guard !target.isEmpty, target.utf8.count <= limits.pathBytes,
            target.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
        else {
            throw ArchiveError(.unsafe, "\(shown) has no usable target")
        }
        guard !target.hasPrefix("/") else {
            throw ArchiveError(
                .unsafe,
                "\(shown) leads out of the app's folder; copy the file into the folder instead"
            )
        }
        let parts = target.split(separator: "/").filter { $0 != "." }
        let ups = parts.prefix { $0 == ".." }.count
        guard ups <= components.count - 1 else {
            throw ArchiveError(
                .unsafe,
                "\(shown) leads out of the app's folder; copy the file into the folder instead"
            )
        }
        guard !parts.dropFirst(ups).contains("..") else {
            throw ArchiveError(.unsafe, "\(shown) has .. after a name; write the target without it")
        }
    }

    static func quoted(_ path: String) -> String {
        let plain = path.unicodeScalars.map {
            $0.value < 0x20 || $0.value == 0x7F ? "\\u{\(String($0.value, radix: 16))}" : String($0)
        }
        let text = plain.joined()
        return text.count > 200 ? "\"\(text.prefix(200))…\"" : "\"\(text)\""
    }
}
