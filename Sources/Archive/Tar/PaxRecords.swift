/// The records of a pax header: lines of `length key=value`, where the length counts the whole line in bytes.
struct PaxRecords: Equatable {
    var path: String?
    var target: String?
    var contentBytes: Int?

    /// The records as the content of a pax entry.
    func encoded() -> [UInt8] {
        var result: [UInt8] = []
        for (key, value) in [("linkpath", target), ("path", path), ("size", contentBytes.map(String.init))] {
            guard let value else { continue }
            let rest = " \(key)=\(value)\n"
            var length = rest.utf8.count
            // The length counts its own digits, too.
            while length != rest.utf8.count + String(length).utf8.count {
                length = rest.utf8.count + String(length).utf8.count
            }
            result += Array("\(length)\(rest)".utf8)
        }
        return result
    }

    /// Reads the content of a pax entry; keys that do not matter here are passed over.
    static func decode(_ bytes: [UInt8]) throws(ArchiveError) -> PaxRecords {
        var records = PaxRecords()
        var rest = bytes[...]
        while !rest.isEmpty {
            let digits = rest.prefix { $0 != UInt8(ascii: " ") }
            guard digits.count <= 7, let length = Int(String(decoding: digits, as: UTF8.self)),
                length > digits.count + 2, length <= rest.count,
                rest[rest.startIndex + length - 1] == UInt8(ascii: "\n")
            else {
                throw ArchiveError(.malformed, "the tar file is damaged: a pax record's length is wrong")
            }
            let line = rest[(rest.startIndex + digits.count + 1)..<(rest.startIndex + length - 1)]
            rest = rest.dropFirst(length)
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")),
                let key = String(validating: line[..<equals], as: UTF8.self)
            else {
                throw ArchiveError(.malformed, "the tar file is damaged: a pax record has no key")
            }
            guard ["path", "linkpath", "size"].contains(key) else {
                guard !key.hasPrefix("GNU.sparse") else {
                    throw ArchiveError(.unsafe, "the archive holds a sparse file, which is not supported")
                }
                continue
            }
            guard let value = String(validating: line[(equals + 1)...], as: UTF8.self) else {
                throw ArchiveError(.malformed, "a path in the archive is not UTF-8")
            }
            switch key {
            case "path": records.path = value
            case "linkpath": records.target = value
            default:
                guard let size = Int(value), size >= 0 else {
                    throw ArchiveError(.malformed, "the tar file is damaged: a pax size is wrong")
                }
                records.contentBytes = size
            }
        }
        return records
    }
}
